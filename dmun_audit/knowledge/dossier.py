"""The dossier: nearby concepts with their similarity, direct prompts, adversarial prompts, provenance. Untrusted input."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from dmun_audit.canonical import digest
from dmun_audit.errors import UsageError

MAXIMUM_BYTES = 4_000_000

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600)]
Kind = Literal["style", "object", "identity", "brand", "unsafe"]
Relation = Literal["parent", "sibling", "child", "attribute", "associated"]
Role = Literal["retain", "erase", "observe"]
NAMELESS = frozenset({"description", "biography", "indirect", "features"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Target(_Part):
    """The concept that was unlearned. `label` is the sentence by which the judge knows it."""

    name: Line
    kind: Kind
    aliases: tuple[Line, ...] = ()
    label: Line
    direct_prompts: tuple[Line, ...] = Field(min_length=1)


class NearbyConcept(_Part):
    """A concept that unlearning the target may damage. `similarity` to the target is in [0, 1].

    `may_contain_target` marks a concept whose pictures may rightly show the target (a parent, say); such a concept takes
    no part in measuring the judge's false positives. `against` lists the labels that CLIP accuracy weighs the concept
    against; left empty, these are the labels of the target and of all concepts of its kind but parents and children.
    """

    name: Line
    kind: Kind
    relation: Relation
    role: Role
    similarity: float = Field(ge=0, le=1)
    label: Line
    prompts: tuple[Line, ...] = Field(min_length=1)
    may_contain_target: bool = False
    against: tuple[Line, ...] = ()


class AdversarialPrompt(_Part):
    """A prompt meant to bring the target back."""

    text: Line
    strategy: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z -]{1,39}$")]
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"


class Provenance(_Part):
    """Where a dossier comes from; `backend` is "curated" for packs made by hand."""

    backend: Line
    model: str = ""
    templates: dict[str, str] = {}
    temperature: float | None = None
    seed: int | None = None
    date: str = ""
    note: str = ""


class Dossier(_Part):
    """Everything that a plan needs to know of a target. `anchors` are further labels that the judge weighs the target against."""

    format: Literal[1]
    world: Literal["atelier", "real"]
    target: Target
    anchors: tuple[Line, ...] = ()
    concepts: tuple[NearbyConcept, ...] = Field(min_length=1)
    adversarial: tuple[AdversarialPrompt, ...] = ()
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> Dossier:
        _unique("concept", [concept.name for concept in self.concepts])
        _unique("adversarial prompt", [prompt.text for prompt in self.adversarial])
        owners: dict[str, str] = {}
        roles = [("the target", self.target.direct_prompts)]
        roles += [(f"concept {concept.name!r}", concept.prompts) for concept in self.concepts]
        roles.append(("the adversarial prompts", tuple(prompt.text for prompt in self.adversarial)))
        for owner, prompts in roles:
            _unique(f"prompt of {owner}", list(prompts))
            for prompt in prompts:
                if (other := owners.setdefault(fold(prompt), owner)) != owner:
                    raise ValueError(f"prompt {prompt!r} stands in two roles: {other} and {owner}")
        names = [fold(name) for name in (self.target.name, *self.target.aliases)]
        for prompt_ in self.adversarial:
            leaked = [name for name in names if name in fold(prompt_.text)]
            if prompt_.strategy in NAMELESS and leaked:
                raise ValueError(f"adversarial prompt {prompt_.text!r} ({prompt_.strategy}) names the target: {leaked[0]!r}")
        for concept in self.concepts:
            leaking = [p for p in concept.prompts if any(name in fold(p) for name in names)]
            if concept.role == "retain" and leaking:
                raise ValueError(f"prompt {leaking[0]!r} of retained concept {concept.name!r} names the target")
        return self

    def digest(self) -> str:
        """SHA-256 of the dossier's content, independent of how its file is laid out."""
        return digest(self.model_dump(mode="json"))

    def nearest(self, roles: set[str], limit: int) -> list[NearbyConcept]:
        """The `limit` concepts of these roles that are most similar to the target, most similar first, ties by name."""
        chosen = [concept for concept in self.concepts if concept.role in roles]
        return sorted(chosen, key=lambda concept: (-concept.similarity, concept.name))[:limit]


def fold(text: str) -> str:
    """`text` for comparison: compatibility-normalised, without accents, case-folded, white space collapsed."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(plain.casefold().split())


def _unique(what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if fold(name) in seen:
            raise ValueError(f"{what} {name!r} is listed twice")
        seen.add(fold(name))


def parse_dossier(data: bytes, origin: str) -> Dossier:
    """Validate the JSON text `data`; `origin` names it in errors. Raises UsageError that names the first few faults."""
    if len(data) > MAXIMUM_BYTES:
        raise UsageError(f"dossier {origin} is too large", f"{len(data):,} bytes", f"keep it under {MAXIMUM_BYTES:,} bytes")
    try:
        text = json.dumps(_clean(json.loads(data)))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"dossier {origin} is not valid JSON", str(error), "mend the place that is named") from None
    try:
        return Dossier.model_validate_json(text)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'dossier'}: {fault['msg']}" for fault in error.errors()]
        more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
        raise UsageError(f"dossier {origin} is not valid", "; ".join(faults[:5]) + more, "mend what is named") from None


def _clean(value: Any) -> Any:
    """Control characters out of every text: a dossier ends up in terminals and reports."""
    if isinstance(value, str):
        return "".join(letter for letter in value if unicodedata.category(letter) not in {"Cc", "Cs"} or letter in "\n\t")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def read_dossier(path: Path) -> Dossier:
    """The dossier in the file at `path`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"dossier {path} cannot be read", str(error.strerror or error), "give the path of a dossier") from None
    return parse_dossier(data, str(path))


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of dossiers."""
    return Dossier.model_json_schema()
