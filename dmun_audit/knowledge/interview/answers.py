"""The items that answers consist of. Each item is validated here, even if a server promised to keep to the schema.

Titles and docstrings of the item types are part of the JSON Schema that a model is sent, and a transcript finds an answer by its
question with the schema. If a title or docstring changes, old transcripts no longer replay.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from dmun_audit.knowledge.dossier import LONGEST_NAME, Kind, Role, Skill
from dmun_audit.knowledge.words.texts import without_hidden_characters

MARKUP = re.compile(r"</?[A-Za-z!]|&(?:[a-z]{2,8}|#\d+);|```")


def _one_clean_line(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    line = " ".join(without_hidden_characters(value).split())
    if MARKUP.search(line):
        raise ValueError("holds markup; give plain text")
    if line and not any(letter.isalnum() for letter in line):
        raise ValueError("holds no word")
    return line


CleanLine = Annotated[str, BeforeValidator(_one_clean_line)]
Name = Annotated[CleanLine, StringConstraints(min_length=1, max_length=LONGEST_NAME)]
Label = Annotated[CleanLine, StringConstraints(min_length=1, max_length=120)]
Prompt = Annotated[CleanLine, StringConstraints(min_length=1, max_length=280)]
Item = TypeVar("Item", bound=BaseModel)


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TargetDescription(_Item):
    """What the target is."""

    model_config = ConfigDict(title="AboutTarget")
    kind: Kind
    aliases: Annotated[tuple[Name, ...], Field(max_length=8)]
    spellings: Annotated[tuple[Name, ...], Field(max_length=8)]
    label: Label


class PlainPrompt(_Item):
    """One prompt."""

    model_config = ConfigDict(title="Plain")
    prompt: Prompt


LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]  # BCP 47


class PromptWithLanguage(PlainPrompt):
    """One prompt and the language that it is in."""

    model_config = ConfigDict(title="Foreign")
    language: LanguageCode


class PromptWithSkill(PlainPrompt):
    """One prompt of composition."""

    model_config = ConfigDict(title="Composed")
    skill: Skill


class Neighbour(_Item):
    """One concept near the target."""

    name: Name
    kind: Kind
    role: Role
    may_contain_target: bool
    label: Label
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=2, max_length=8)]


class NumberedRating(_Item):
    """The similarity of one numbered concept."""

    model_config = ConfigDict(title="Rated")
    number: int = Field(ge=1, le=200)
    rating: int = Field(ge=0, le=100)


class RankedNumber(_Item):
    """One place in a ranking."""

    model_config = ConfigDict(title="Ranked")
    number: int = Field(ge=1, le=200)


class SimilarityRating(_Item):
    """The similarity of what two sets of pictures show."""

    model_config = ConfigDict(title="Looked")
    rating: int = Field(ge=0, le=100)


class NumberedPrompt(PromptWithLanguage):
    """A better prompt for a numbered one, in whatever language."""

    model_config = ConfigDict(title="Improved")
    number: int = Field(ge=1, le=200)


class PromptWithStrategy(PromptWithLanguage):
    """A prompt with its strategy, in whatever language."""

    model_config = ConfigDict(title="Proposed")
    strategy: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,20}$")]


def answer_schema(item_type: type[BaseModel], minimum: int, maximum: int) -> dict[str, Any]:
    """The JSON Schema of an answer: an object whose `items` are `minimum` to `maximum` items of that type."""
    item = item_type.model_json_schema()
    definitions = item.pop("$defs", {})
    return {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item, "minItems": minimum, "maxItems": maximum}},
        "required": ["items"],
        "additionalProperties": False,
    } | ({"$defs": definitions} if definitions else {})


EXAMPLES: dict[type[BaseModel], BaseModel] = {
    TargetDescription: TargetDescription(
        kind="object", aliases=("grand piano", "concert grand"), spellings=("piano à queue",), label="a photo of a grand piano"
    ),
    PlainPrompt: PlainPrompt(prompt="a kite over a wheat field at noon"),
    PromptWithLanguage: PromptWithLanguage(prompt="ein Drachen über einem Feld", language="de"),
    PromptWithSkill: PromptWithSkill(prompt="three kites over a field", skill="counting"),
    Neighbour: Neighbour(
        name="kite",
        kind="object",
        role="retain",
        may_contain_target=False,
        label="a photo of a kite",
        prompts=("a kite over a wheat field at noon", "a red kite at the beach"),
    ),
    PromptWithStrategy: PromptWithStrategy(prompt="a kite over a wheat field at noon", language="en", strategy="description"),
}
"""A valid item of each type, about something else, that shows a model the form. Numbers have none: it would be taken over."""


def example_answer(item_type: type[BaseModel]) -> str:
    """The text of an answer with one item of that type."""
    if (example := EXAMPLES.get(item_type)) is not None:
        return f'{{"items": [{example.model_dump_json()}]}}'
    fields = ", ".join(f'"{name}": {name.upper()}' for name in item_type.model_fields)
    return f'{{"items": [{{{fields}}}]}}'
