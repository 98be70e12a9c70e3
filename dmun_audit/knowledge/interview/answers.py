"""What answers are made of. Each item is validated here, whatever a server promised about its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from textwrap import shorten
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from dmun_audit.knowledge.dossier import LONGEST_NAME, Kind, Role, Skill
from dmun_audit.knowledge.texts import without_unread

MARKUP = re.compile(r"</?[A-Za-z!]|&(?:[a-z]{2,8}|#\d+);|```")
LONGEST_COMPLAINT = 200  # letters
_PLACES = 40  # at so many opening braces an answer in prose is searched for its JSON


def _one_clean_line(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    line = " ".join(without_unread(value).split())
    if MARKUP.search(line):
        raise ValueError("holds markup; give plain text")
    if line and not any(letter.isalnum() for letter in line):
        raise ValueError("holds no word")
    return line


Clean = Annotated[str, BeforeValidator(_one_clean_line)]
Name = Annotated[Clean, StringConstraints(min_length=1, max_length=LONGEST_NAME)]
Label = Annotated[Clean, StringConstraints(min_length=1, max_length=120)]
Prompt = Annotated[Clean, StringConstraints(min_length=1, max_length=280)]
Item = TypeVar("Item", bound=BaseModel)


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AboutTarget(_Item):
    """What the target is."""

    kind: Kind
    aliases: Annotated[tuple[Name, ...], Field(max_length=8)]
    spellings: Annotated[tuple[Name, ...], Field(max_length=8)]
    label: Label


class Plain(_Item):
    """One prompt."""

    prompt: Prompt


Code = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


class Foreign(Plain):
    """One prompt and the language that it is in."""

    language: Code


class Composed(Plain):
    """One prompt of composition."""

    skill: Skill


class Neighbour(_Item):
    """One concept near the target."""

    name: Name
    kind: Kind
    role: Role
    may_contain_target: bool
    label: Label
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=2, max_length=8)]


class Rated(_Item):
    """The similarity of one numbered concept."""

    number: int = Field(ge=1, le=200)
    rating: int = Field(ge=0, le=100)


class Ranked(_Item):
    """One place in a ranking."""

    number: int = Field(ge=1, le=200)


class Looked(_Item):
    """The similarity of what two sets of pictures show."""

    rating: int = Field(ge=0, le=100)


class Improved(Foreign):
    """A better prompt for a numbered one, in whatever language."""

    number: int = Field(ge=1, le=200)


class Proposed(Foreign):
    """A prompt with its strategy, in whatever language."""

    strategy: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,20}$")]


def schema_of(shape: type[BaseModel], least: int, most: int) -> dict[str, Any]:
    """The JSON Schema of an answer: an object whose `items` are `least` to `most` of that shape."""
    item = shape.model_json_schema()
    definitions = item.pop("$defs", {})
    return {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item, "minItems": least, "maxItems": most}},
        "required": ["items"],
        "additionalProperties": False,
    } | ({"$defs": definitions} if definitions else {})


def items_in(text: str, shape: type[Item]) -> tuple[list[Item], list[str]]:
    """The valid items of an answer, and what is wrong with the rest. JSON is found in prose and code fences too."""
    seen: list[Any] | None = None
    for value in _objects(text):
        found = value.get("items") if isinstance(value, dict) else value
        if isinstance(found, list):
            seen = found
            break
    if seen is None:
        return [], ["There is no JSON object with a list `items` in the answer."]
    good: list[Item] = []
    complaints: list[str] = []
    for number, value in enumerate(seen, start=1):
        try:
            good.append(shape.model_validate_json(json.dumps(value)))
        except (ValidationError, RecursionError) as error:
            faults = error.errors() if isinstance(error, ValidationError) else []
            told = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in faults[:3])
            told = shorten(without_unread(told), LONGEST_COMPLAINT, placeholder="…")  # it may quote what the model said
            complaints.append(f"Item {number} is not valid: {told or 'nested too deep'}.")
    return good, complaints


def _objects(text: str) -> Iterator[Any]:
    """JSON values in `text`: the whole of it, else whatever begins at an opening brace."""
    decoder = json.JSONDecoder()
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError):
        pass
    place, tried = text.find("{"), 0
    while place >= 0 and tried < _PLACES:
        end = place + 1
        try:
            value, end = decoder.raw_decode(text, place)
            yield value
        except (ValueError, RecursionError):
            pass
        place, tried = text.find("{", end), tried + 1
