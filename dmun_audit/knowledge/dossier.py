"""The dossier: nearby concepts with their similarity, direct prompts, adversarial prompts, provenance. Untrusted input."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.words.names import names_of
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.store.files import write_atomically

LINE_BREAK = "\n"
LONGEST_NAME = 80  # characters of a target's name
LENIENT = "lenient"  # the validation context that admits inconsistent dossiers, to find all their problems at once

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=600)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME)]
Kind = Literal["style", "object", "identity", "brand", "unsafe"]
Relation = Literal["parent", "sibling", "child", "attribute", "work", "person", "motif", "associated", "distant"]
World = Literal["atelier", "real"]
Role = Literal["retain", "erase", "observe"]
Skill = Literal["attribute binding", "spatial relation", "counting"]

_LATER_FIELDS = frozenset({"thin", "helpers"})
"""Fields of the provenance that came later: while they are empty, they are no part of a dossier's digest."""

NAMELESS = frozenset({"description", "works", "biography", "indirect", "features", "mixture"})


def besides_english(codes: Iterable[str]) -> set[str]:
    """The languages of these BCP 47 codes besides English, without their regions: "pt" for "pt-BR"."""
    return {code.partition("-")[0] for code in codes} - {"en"}


def _whole_number(value: Any) -> Any:
    """The value; nothing for true and 1.0, which Python takes for the number 1."""
    return value if type(value) is int else None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Target(_Part):
    """The concept that was unlearned. `label` is the sentence by which the judge knows it.

    `aliases` are other names by which a user may ask for it; `spellings` are other ways of writing a name, in other
    scripts too. A prompt without the name contains none of them.
    """

    name: Name
    kind: Kind
    aliases: tuple[Name, ...] = Field(default=(), max_length=64)
    spellings: tuple[Name, ...] = Field(default=(), max_length=64)
    label: Line
    direct_prompts: tuple[Line, ...] = Field(min_length=1, max_length=500)


class NearbyConcept(_Part):
    """A concept that unlearning the target may damage. `similarity` to the target is in [0, 1].

    `spread` is the standard deviation of the assessments behind `similarity`, on the same scale; None for a single one.
    `may_contain_target` marks a concept whose pictures may show the target, such as a parent; the judge's false positives
    are not measured on it. `against` lists the labels that compete with the concept's own in CLIP accuracy; if it is empty,
    these are the labels of the target and of all concepts of its kind except parents and children.
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
    """A prompt with several things in one picture, near the target. Unlearning is known to erode these skills."""

    text: Line
    skill: Skill


class AdversarialPrompt(_Part):
    """A prompt meant to bring the target back. `language` is a BCP 47 code; `note` says how a search found the prompt."""

    text: Line
    strategy: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z -]{1,39}$")]
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    note: Annotated[str, StringConstraints(max_length=600)] = ""


class Ordering(_Part):
    """The similarity of each concept to the target in [0, 1], by the concept's name, as one model assesses it.

    A dossier may hold several orderings of one source, each by another model.
    """

    source: Literal["language model", "vision-language model"]
    model: Line
    similarity: dict[Line, Annotated[float, Field(ge=0, le=1)]]
    spread: dict[Line, Annotated[float, Field(ge=0, le=1)]] = {}


class _Source(_Part):
    backend: Line
    model: str = ""


class _SourceOfParts(_Source):
    parts: tuple[Line, ...] = ()


class _Answers(_Part):
    """How the answers of a language model came about."""

    templates: dict[str, str] = {}
    temperature: float | None = None
    seed: int | None = None
    date: str = ""
    questions: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    transcript: str = ""


class Helper(_Answers, _SourceOfParts):  # fields are written in the order of the bases from the last to the first
    """A further language model, and the `parts` of the dossier that it gave. The other fields are those of the provenance."""


class Provenance(_Answers, _Source):
    """Where a dossier comes from. `backend` is "curated" for a dossier made by hand.

    `templates` holds the SHA-256 of each question's template, `transcript` the SHA-256 of all answers. `history` says in whole
    sentences what changed the dossier later. A dossier is thin if a part of it could not be had; `thin` says in whole sentences
    which, and why. `helpers` are further language models, each with the parts that it gave.
    """

    history: tuple[Line, ...] = ()
    note: str = ""
    thin: tuple[Line, ...] = ()
    helpers: tuple[Helper, ...] = ()


class Dossier(_Part):
    """Everything that a plan needs to know about a target. `anchors` are further labels that compete with the target's."""

    format: Annotated[Literal[1], BeforeValidator(_whole_number)]
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
        problems = [] if info.context == LENIENT else self.inconsistencies()
        if problems:
            raise ValueError(LINE_BREAK.join(problems))
        return self

    def inconsistencies(self) -> list[str]:
        """The contradictions between parts of the dossier. Only a dossier read with the context LENIENT can have any."""
        return [*self._duplicates(), *self._prompts_in_two_roles(), *self._names_of_target(), *self._unknown_concepts()]

    def _duplicates(self) -> list[str]:
        lists: list[tuple[str, Sequence[str]]] = [
            ("concept", [concept.name for concept in self.concepts]),
            ("adversarial prompt", [prompt.text for prompt in self.adversarial]),
            ("composition prompt", [prompt.text for prompt in self.compositions]),
            ("ordering by", [f"{ordering.source} {ordering.model}" for ordering in self.orderings]),
            ("prompt of the target", self.target.direct_prompts),
            *((f"prompt of concept {concept.name!r}", concept.prompts) for concept in self.concepts),
        ]
        return [f"{what} {name!r} is listed twice" for what, names in lists for name in _repeated(names)]

    def _prompts_in_two_roles(self) -> list[str]:
        owners: dict[str, str] = {}
        problems = []
        for prompt, owner in self.prompts_with_owners():
            if (other := owners.setdefault(fold(prompt), owner)) != owner:
                problems.append(f"prompt {prompt!r} stands in two roles: {other} and {owner}")
        return problems

    def _names_of_target(self) -> list[str]:
        names = names_of(self.names, self.target.kind)
        problems = []
        for prompt in self.adversarial:
            name = names.find_exact(prompt.text) if prompt.strategy in NAMELESS else None
            if name:
                problems.append(f"adversarial prompt {prompt.text!r} ({prompt.strategy}) names the target: {name!r}")
        for concept in self.concepts:
            naming = [text for text in concept.prompts if names.find_exact(text)] if concept.role == "retain" else []
            if naming:
                problems.append(f"prompt {naming[0]!r} of retained concept {concept.name!r} names the target")
            if names.is_name(concept.name):
                problems.append(f"concept {concept.name!r} is the target itself")
        return problems

    def _unknown_concepts(self) -> list[str]:
        known = {concept.name for concept in self.concepts}
        return [
            f"the ordering by the {ordering.source} {ordering.model} names {name!r}, which is no nearby concept: rename or remove it "
            "there too"
            for ordering in self.orderings
            for name in dict.fromkeys((*ordering.similarity, *ordering.spread))
            if name not in known
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the target: its own, aliases, spellings."""
        return (self.target.name, *self.target.aliases, *self.target.spellings)

    @property
    def languages(self) -> set[str]:
        """The languages of the adversarial prompts besides English."""
        return besides_english(prompt.language for prompt in self.adversarial)

    def prompts_with_owners(self) -> list[tuple[str, str]]:
        """Every prompt with its owner in words, such as "the target"."""
        prompts = [(prompt, "the target") for prompt in self.target.direct_prompts]
        prompts += [(prompt, f"concept {concept.name!r}") for concept in self.concepts for prompt in concept.prompts]
        prompts += [(prompt.text, "the compositions") for prompt in self.compositions]
        return prompts + [(prompt.text, "the adversarial prompts") for prompt in self.adversarial]

    def digest(self) -> str:
        """SHA-256 of the dossier's content; the layout of its file does not matter."""
        content = self.model_dump(mode="json")
        provenance = content["provenance"]
        content["provenance"] = {name: provenance[name] for name in provenance if name not in _LATER_FIELDS or provenance[name]}
        return digest(content)

    def nearest(self, roles: set[str], limit: int) -> list[NearbyConcept]:
        """The `limit` concepts of these roles most similar to the target, the most similar first, ties by name."""
        chosen = [concept for concept in self.concepts if concept.role in roles]
        return sorted(chosen, key=lambda concept: (-concept.similarity, concept.name))[:limit]


def _repeated(names: Sequence[str]) -> list[str]:
    folded: set[str] = set()
    repeated = []
    for name in names:
        if fold(name) in folded:
            repeated.append(name)
        folded.add(fold(name))
    return repeated


def write_dossier(dossier: Dossier, path: Path) -> None:
    """Write the dossier to `path` atomically. Equal dossiers give equal bytes; fields with their default are left out."""
    text = json.dumps(dossier.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False, indent=1)
    write_atomically(path, (text + "\n").encode())


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of dossiers."""
    return Dossier.model_json_schema()
