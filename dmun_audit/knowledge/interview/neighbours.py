"""The nearby concepts of an interview: each once, whatever its spelling, and more of them while too few are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dmun_audit.knowledge import check
from dmun_audit.knowledge.dossier import Dossier, Relation
from dmun_audit.knowledge.interview.answers import Neighbour
from dmun_audit.knowledge.interview.dropped import FEW_PROMPTS, NAMES_TARGET, REPEATED_LABEL, Dropped
from dmun_audit.knowledge.interview.labels import relabelled
from dmun_audit.knowledge.interview.panel import Panel
from dmun_audit.knowledge.interview.questions import SIBLING, more_siblings_request
from dmun_audit.knowledge.interview.validation import FEWEST_PROMPTS, AnswerValidator
from dmun_audit.knowledge.words.identity import identity
from dmun_audit.knowledge.words.texts import fold

TOP_UPS = 2  # times that more siblings are asked for


class Neighbours:
    """Nearby concepts by their identity. Each prompt belongs to one concept; a concept to retain has a label of its own.

    `ambiguous` holds concepts to retain whose label another concept has, until they get another label. `start` is a dossier whose
    concepts are known already.
    """

    def __init__(self, used_prompts: Iterable[str], dropped: Dropped, start: Dossier | None = None) -> None:
        self.by_name: dict[str, tuple[Relation, Neighbour]] = {}
        self.ambiguous: dict[str, tuple[Relation, Neighbour]] = {}
        self._there = {identity(concept.name): concept for concept in start.concepts} if start else {}
        self._dropped = dropped
        self._prompts = set(map(fold, used_prompts))

    @property
    def labels(self) -> list[str]:
        """The labels of all concepts so far, each once, in order."""
        new = (concept.label for _, concept in self.by_name.values())
        return list(dict.fromkeys([*(concept.label for concept in self._there.values()), *new]))

    @property
    def known(self) -> list[str]:
        """The names of all concepts so far."""
        return [*(concept.name for concept in self._there.values()), *(concept.name for _, concept in self.by_name.values())]

    @property
    def missing(self) -> int:
        """How many more concepts are needed."""
        roles = [*(concept.role for concept in self._there.values()), *(concept.role for _, concept in self.by_name.values())]
        return max(check.NEIGHBOURS - len(roles), check.RETAINED - roles.count("retain"), 0)

    def add(self, relation: Relation, concepts: Sequence[Neighbour]) -> None:
        """Add the concepts that are new and have enough prompts of their own."""
        for concept in concepts:
            key = identity(concept.name)
            if key in self.by_name or key in self.ambiguous or key in self._there:
                self._dropped.repeated += 1
            elif concept.role == "retain" and fold(concept.label) in set(map(fold, self.labels)):
                self.ambiguous[key] = (relation, concept)
                self._dropped.reasons[key] = REPEATED_LABEL
            else:
                self._add(key, relation, concept)

    def relabel(self, panel: Panel, validator: AnswerValidator, values: dict[str, Any]) -> None:
        """Ask for other labels of the ambiguous concepts, and add those that got one; the rest of them is dropped."""
        unclear = [concept for _, concept in self.ambiguous.values()]
        relations = {key: relation for key, (relation, _) in self.ambiguous.items()}
        self.ambiguous = {}
        for concept in relabelled(panel, values, unclear, [validator.label, *self.labels]):
            self.add(relations[identity(concept.name)], [concept])
        self.ambiguous = {}

    def settle(self, validator: AnswerValidator) -> None:
        """Drop what names the target by a name that was not certain before, prompt by prompt."""
        for key, (relation, concept) in list(self.by_name.items()):
            problem = validator.name_problem if concept.role == "retain" else lambda text: ""
            prompts = tuple(text for text in concept.prompts if not problem(text))
            if validator.is_target(concept.name) or len(prompts) < FEWEST_PROMPTS:
                del self.by_name[key]
                self._dropped.reasons[key] = NAMES_TARGET
            else:
                self.by_name[key] = (relation, concept.model_copy(update={"prompts": prompts}))

    def top_up(self, panel: Panel, validator: AnswerValidator, values: dict[str, Any]) -> None:
        """Ask for more siblings while too few concepts are known and the language models still have new ones."""
        for _ in range(TOP_UPS):
            before = len(self.by_name)
            if self.missing:
                request = more_siblings_request(validator, values, self.missing, self.known)
                self.add(SIBLING.relation, panel.collect([request])[0])
            if len(self.by_name) == before:
                break

    def dropped(self) -> str:
        """How many concepts were dropped for what; "" if none was."""
        return self._dropped.sentence(self.by_name)

    def _add(self, key: str, relation: Relation, concept: Neighbour) -> None:
        prompts = tuple(text for text in concept.prompts if fold(text) not in self._prompts)
        if len(prompts) < FEWEST_PROMPTS:
            self._dropped.reasons[key] = FEW_PROMPTS
            return
        self.by_name[key] = (relation, concept.model_copy(update={"prompts": prompts}))
        self._prompts.update(map(fold, prompts))
