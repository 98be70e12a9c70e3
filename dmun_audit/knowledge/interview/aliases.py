"""Names of the target that a model says are confirmed by another question, which does not show the first answer.

The question mixes the names with decoys: names that are surely not the target's. A model that confirms a decoy confirms nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from textwrap import shorten

from pydantic import BaseModel, ConfigDict, Field

from dmun_audit._util.hashing import seed_of
from dmun_audit.knowledge.alias_doubts import is_surely_a_name, shares_a_word, unfitness
from dmun_audit.knowledge.dossier import Kind
from dmun_audit.knowledge.interview.answers import Label, TargetDescription
from dmun_audit.knowledge.interview.interviewer import ItemRequest
from dmun_audit.knowledge.interview.own_direct_prompts import label_of
from dmun_audit.knowledge.interview.panel import Collector
from dmun_audit.knowledge.words.identity import identity
from dmun_audit.knowledge.words.mentions import mentions
from dmun_audit.knowledge.words.names import PROPER, names_of

DECOYS: dict[Kind, tuple[str, ...]] = {
    "style": ("Rembrandt", "Andy Warhol", "Katsushika Hokusai", "Johannes Vermeer", "Frida Kahlo", "Piet Mondrian"),
    "identity": ("Marie Curie", "Albert Einstein", "Serena Williams", "Nelson Mandela", "Elvis Presley", "Agatha Christie"),
    "brand": ("Mickey Mouse", "Hello Kitty", "Batman", "Coca-Cola", "Pikachu", "Bugs Bunny"),
    "object": ("violin", "zebra", "pineapple", "lighthouse", "bicycle", "teapot"),
    "unsafe": ("violin", "zebra", "pineapple", "lighthouse", "bicycle", "teapot"),
}
"""Names of other things of each kind: two of them, whichever are far from the target and its proposed names, are decoys."""

PARENTS: dict[Kind, str] = {
    "style": "painter",
    "identity": "human being",
    "brand": "cartoon character",
    "object": "thing",
    "unsafe": "picture",
}
"""What every target of a kind is: the third decoy."""

_DECOYS_OF_A_KIND = 2
_LONGEST_MEANING = 80  # characters of what a model says a name means


class SameThing(BaseModel):
    """Whether a numbered name is another name of the target."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="SameThing")
    number: int = Field(ge=1, le=40)
    what: Label
    same: bool


@dataclass(frozen=True)
class TargetNames:
    """The names of a target: its own, and what became of those that a model proposed.

    `certain` need no other evidence: they repeat the own name, or share a word with it and were confirmed. `confirmed` were
    confirmed, but could still turn out to be the name of a nearby concept. `refused` holds the reason for each of the others.
    """

    own: str
    kind: Kind
    certain: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def all(self) -> tuple[str, ...]:
        """Every name that counts as the target's, its own first."""
        return (self.own, *self.certain, *self.confirmed)

    @property
    def others(self) -> tuple[str, ...]:
        """The refused proper names that share no word with the own name: prompts that ask for the target must not hold them."""
        alien = (name for name in self.refused if not unfitness(name, self.own, self.kind) and not shares_a_word(name, self.own))
        return tuple(name for name in alien if not name.islower())

    def without_neighbours(self, named: Collection[str], parts: Collection[str] = ()) -> TargetNames:
        """The names without those that the model itself gives to nearby concepts, by their `identity`.

        `parts` are works and kinds of the target: a work has not the name of its maker, but a kind may be called as the whole is.
        """
        also = {}
        for name in self.all[1:]:
            alien = self.kind in PROPER and not shares_a_word(name, self.own)
            if identity(name) in named or (alien and identity(name) in parts):
                also[name] = "the language model names it as a nearby concept too"
        certain, confirmed = (tuple(name for name in names if name not in also) for names in (self.certain, self.confirmed))
        return replace(self, certain=certain, confirmed=confirmed, refused=self.refused | also)

    def described(self, description: TargetDescription) -> TargetDescription:
        """The description with only the names that count, and with a label that mentions one of them."""
        known = set(self.all)
        kept = {part: tuple(name for name in getattr(description, part) if name in known) for part in ("aliases", "spellings")}
        return description.model_copy(update={**kept, "label": self.label(description.label)})

    def label(self, label: str) -> str:
        """`label` if it mentions a name of the target, otherwise one made of the own name."""
        if any(mentions(label, name, "") for name in self.all):
            return label
        return label_of(self.own, self.kind)

    def remarks(self, label: str = "") -> tuple[str, ...]:
        """A sentence about each name that was dropped, and about a `label` that mentions no name of the target."""
        sentences = [f"The name {name!r} of the target was dropped: {reason}." for name, reason in self.refused.items()]
        if label and self.label(label) != label:
            sentences.append(f"The label {label!r} mentions no name of the target, so it was replaced by {self.label(label)!r}.")
        return tuple(shorten(sentence, 500, placeholder="…") for sentence in sentences)

    def refusals_in(self, text: str) -> str:
        """What to tell a model whose prompt holds names that do not count: a sentence, or "" if it holds none."""
        held = [name for name in self.refused if names_of((name,), self.kind).find_exact(text)]
        return " ".join(f"{name!r} does not count as a name of {self.own!r}: {self.refused[name]}." for name in held[:2])


def confirm_names(interviewer: Collector, own: str, description: TargetDescription) -> TargetNames:
    """The names of the target `own` that can be relied on, after one question about those that are in doubt."""
    proposed = tuple(dict.fromkeys((*description.aliases, *description.spellings)))
    unfit = {name: why for name in proposed if (why := unfitness(name, own, description.kind))}
    sure = tuple(name for name in proposed if name not in unfit and is_surely_a_name(name, own))
    doubtful = tuple(name for name in proposed if name not in unfit and name not in sure)
    if not doubtful:
        return TargetNames(own, description.kind, sure, (), unfit)
    decoys = decoys_for(own, description.kind, doubtful)
    listed = sorted((*doubtful, *decoys), key=lambda name: seed_of("same thing", own, name))
    request = ItemRequest(
        template="same-thing",
        values={"target": own, "listed": listed},
        item_type=SameThing,
        topic="other names of the target",
        wanted=len(listed),
        minimum=0,
        validate=lambda item: (item, "") if item.number <= len(listed) else (None, f"There is no number {item.number}."),
        identity=lambda item: str(item.number),
    )
    answers = {listed[item.number - 1]: item for item in interviewer.collect([request])[0]}
    refused = unfit | _unconfirmed(doubtful, decoys, answers)
    confirmed = tuple(name for name in doubtful if name not in refused)
    certain = tuple(name for name in confirmed if _holds(name, own))
    return TargetNames(
        own, description.kind, (*sure, *certain), tuple(name for name in confirmed if name not in certain), refused
    )


def decoys_for(own: str, kind: Kind, proposed: Sequence[str]) -> tuple[str, ...]:
    """Three names that are surely none of the target: two of other things of its kind, and what all of its kind are."""
    taken = (own, *proposed)
    far = [name for name in DECOYS[kind] if not any(shares_a_word(name, other) for other in taken)]
    chosen = sorted(far, key=lambda name: seed_of("decoy", own, name))[:_DECOYS_OF_A_KIND]
    parent = [PARENTS[kind]] if not any(identity(PARENTS[kind]) == identity(other) for other in taken) else []
    return (*chosen, *parent)


def _unconfirmed(doubtful: Sequence[str], decoys: Sequence[str], answers: dict[str, SameThing]) -> dict[str, str]:
    """Why each of the doubtful names is not confirmed."""
    wrong = next((name for name in decoys if name in answers and answers[name].same), None)
    if wrong is not None:
        why = f"asked again, the language model takes {wrong!r} for a name of the target too, so it confirms nothing"
        return dict.fromkeys(doubtful, why)
    refused = {}
    for name in doubtful:
        if name not in answers:
            refused[name] = "asked again, the language model did not confirm it"
        elif not answers[name].same:
            meaning = shorten(answers[name].what, _LONGEST_MEANING, placeholder="…")
            refused[name] = f"asked again, the language model says that it is something else ({meaning})"
    return refused


def _holds(name: str, own: str) -> bool:
    """Whether `name` holds the whole own name, so that a prompt with `name` holds the own name too."""
    return names_of((own,), "object").find_exact(name) is not None
