"""The dossier: nearby concepts with their similarity, direct prompts, adversarial prompts, provenance. Untrusted input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.names import names_of
from dmun_audit.knowledge.texts import fold
from dmun_audit.store.files import write_atomically

LINE_BREAK = "\n"
LONGEST_NAME = 80  # letters, of a target
LENIENT = "lenient"  # the validation context in which a dossier may be inconsistent: to look for all that is wrong with it

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME)]
Kind = Literal["style", "object", "identity", "brand", "unsafe"]
Relation = Literal["parent", "sibling", "child", "attribute", "work", "person", "motif", "associated", "distant"]
World = Literal["atelier", "real"]
Role = Literal["retain", "erase", "observe"]
Skill = Literal["attribute binding", "spatial relation", "counting"]
NAMELESS = frozenset({"description", "works", "biography", "indirect", "features", "mixture"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Target(_Part):
    """The concept that was unlearned. `label` is the sentence by which the judge knows it.

    `aliases` are other names by which a user may ask for it; `spellings` are further ways of writing a name, other
    scripts included. A prompt without the name has none of all these.
    """

    name: Name
    kind: Kind
    aliases: tuple[Name, ...] = Field(default=(), max_length=64)
    spellings: tuple[Name, ...] = Field(default=(), max_length=64)
    label: Line
    direct_prompts: tuple[Line, ...] = Field(min_length=1, max_length=500)


class NearbyConcept(_Part):
    """A concept that unlearning the target may damage. `similarity` to the target is in [0, 1].

    `spread` is the standard deviation of the single assessments behind `similarity`, on its scale; None where there was one.
    `may_contain_target` marks a concept whose pictures may rightly show the target (a parent, say); such a concept takes
    no part in measuring the judge's false positives. `against` lists the labels that CLIP accuracy weighs the concept
    against; left empty, these are the labels of the target and of all concepts of its kind but parents and children.
    """

    name: Line
    kind: Kind
    relation: Relation
    role: Role
    similarity: float = Field(ge=0, le=1)
    spread: float | None = Field(default=None, ge=0, le=1)
    label: Line
    prompts: tuple[Line, ...] = Field(min_length=1, max_length=500)
    may_contain_target: bool = False
    against: tuple[Line, ...] = Field(default=(), max_length=500)


class CompositionPrompt(_Part):
    """Several things in one picture, around the target's neighbourhood: unlearning is known to erode these skills."""

    text: Line
    skill: Skill


class AdversarialPrompt(_Part):
    """A prompt meant to bring the target back. `note` says how it was found, where it was not simply thought of."""

    text: Line
    strategy: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z -]{1,39}$")]
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    note: Annotated[str, StringConstraints(max_length=600)] = ""


class Ordering(_Part):
    """How similar one source finds each concept to the target: similarities in [0, 1] by the concepts' names."""

    source: Literal["language model", "vision-language model"]
    model: Line
    similarity: dict[Line, Annotated[float, Field(ge=0, le=1)]]
    spread: dict[Line, Annotated[float, Field(ge=0, le=1)]] = {}


class Provenance(_Part):
    """Where a dossier comes from; `backend` is "curated" for packs made by hand.

    `templates` gives the SHA-256 of every question's template, `transcript` that of all answers; `history` tells in
    whole sentences what was done to the dossier since.
    """

    backend: Line
    model: str = ""
    templates: dict[str, str] = {}
    temperature: float | None = None
    seed: int | None = None
    date: str = ""
    questions: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    transcript: str = ""
    history: tuple[Line, ...] = ()
    note: str = ""


class Dossier(_Part):
    """Everything that a plan needs to know of a target. `anchors` are further labels that the judge weighs the target against."""

    format: Literal[1]
    world: World
    target: Target
    anchors: tuple[Line, ...] = Field(default=(), max_length=100)
    concepts: tuple[NearbyConcept, ...] = Field(min_length=1, max_length=500)
    compositions: tuple[CompositionPrompt, ...] = Field(default=(), max_length=2_000)
    adversarial: tuple[AdversarialPrompt, ...] = Field(default=(), max_length=5_000)
    orderings: tuple[Ordering, ...] = ()
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Dossier:
        found = [] if info.context == LENIENT else self.inconsistencies()
        if found:
            raise ValueError(LINE_BREAK.join(found))
        return self

    def inconsistencies(self) -> list[str]:
        """Where parts of the dossier do not fit together; empty for every dossier but one read with the context LENIENT."""
        return [*self._listed_twice(), *self._in_two_roles(), *self._naming_the_target(), *self._of_no_concept()]

    def _listed_twice(self) -> list[str]:
        lists: list[tuple[str, Sequence[str]]] = [
            ("concept", [concept.name for concept in self.concepts]),
            ("adversarial prompt", [prompt.text for prompt in self.adversarial]),
            ("composition prompt", [prompt.text for prompt in self.compositions]),
            ("ordering by", [ordering.source for ordering in self.orderings]),
            ("prompt of the target", self.target.direct_prompts),
            *((f"prompt of concept {concept.name!r}", concept.prompts) for concept in self.concepts),
        ]
        return [f"{what} {name!r} is listed twice" for what, names in lists for name in _repeated(names)]

    def _in_two_roles(self) -> list[str]:
        owners: dict[str, str] = {}
        found = []
        for prompt, owner in self.prompts_with_owners():
            if (other := owners.setdefault(fold(prompt), owner)) != owner:
                found.append(f"prompt {prompt!r} stands in two roles: {other} and {owner}")
        return found

    def _naming_the_target(self) -> list[str]:
        names = names_of(self.names, self.target.kind)
        found = []
        for prompt in self.adversarial:
            leaked = names.plainly_in(prompt.text) if prompt.strategy in NAMELESS else None
            if leaked:
                found.append(f"adversarial prompt {prompt.text!r} ({prompt.strategy}) names the target: {leaked!r}")
        for concept in self.concepts:
            leaking = [text for text in concept.prompts if names.plainly_in(text)] if concept.role == "retain" else []
            if leaking:
                found.append(f"prompt {leaking[0]!r} of retained concept {concept.name!r} names the target")
            if names.is_one(concept.name):
                found.append(f"concept {concept.name!r} is the target itself")
        return found

    def _of_no_concept(self) -> list[str]:
        known = {concept.name for concept in self.concepts}
        return [
            f"the ordering by the {ordering.source} speaks of {name!r}, which is no nearby concept: rename or remove it there too"
            for ordering in self.orderings
            for name in dict.fromkeys((*ordering.similarity, *ordering.spread))
            if name not in known
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """Every way in which the target may be named."""
        return (self.target.name, *self.target.aliases, *self.target.spellings)

    def prompts_with_owners(self) -> list[tuple[str, str]]:
        """Every prompt with what it belongs to, in words."""
        owned = [(prompt, "the target") for prompt in self.target.direct_prompts]
        owned += [(prompt, f"concept {concept.name!r}") for concept in self.concepts for prompt in concept.prompts]
        owned += [(prompt.text, "the compositions") for prompt in self.compositions]
        return owned + [(prompt.text, "the adversarial prompts") for prompt in self.adversarial]

    def digest(self) -> str:
        """SHA-256 of the dossier's content, independent of how its file is laid out."""
        return digest(self.model_dump(mode="json"))

    def nearest(self, roles: set[str], limit: int) -> list[NearbyConcept]:
        """The `limit` concepts of these roles that are most similar to the target, most similar first, ties by name."""
        chosen = [concept for concept in self.concepts if concept.role in roles]
        return sorted(chosen, key=lambda concept: (-concept.similarity, concept.name))[:limit]


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    found = []
    for name in names:
        if fold(name) in seen:
            found.append(name)
        seen.add(fold(name))
    return found


def write_dossier(dossier: Dossier, path: Path) -> None:
    """Put the dossier at `path`, whole or not at all. Equal dossiers give equal bytes; fields left at nothing are left out."""
    text = json.dumps(dossier.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False, indent=1)
    write_atomically(path, (text + "\n").encode())


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of dossiers."""
    return Dossier.model_json_schema()
