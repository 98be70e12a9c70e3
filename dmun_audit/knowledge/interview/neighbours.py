"""The nearby concepts of an interview: collected relation by relation, each once, and more of them while too few are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dmun_audit.knowledge import check
from dmun_audit.knowledge.dossier import Dossier, Relation
from dmun_audit.knowledge.interview.answers import Neighbour
from dmun_audit.knowledge.interview.panel import Panel
from dmun_audit.knowledge.interview.questions import SIBLING, more_siblings_request
from dmun_audit.knowledge.interview.validation import FEWEST_PROMPTS, AnswerValidator
from dmun_audit.knowledge.texts import fold

TOP_UPS = 2  # times that more siblings are asked for


class Neighbours:
    """Nearby concepts by folded name. Each prompt belongs to one concept; a concept to retain has a label of its own."""

    def __init__(self, used_prompts: Iterable[str]) -> None:
        self.by_name: dict[str, tuple[Relation, Neighbour]] = {}
        self._names: dict[str, str] = {}  # of all known concepts, by folded name
        self._labels: set[str] = set()
        self._prompts = set(map(fold, used_prompts))
        self._retained = 0

    @classmethod
    def beside(cls, dossier: Dossier) -> Neighbours:
        """Concepts beside those of a dossier, which are known already."""
        neighbours = cls(text for text, _ in dossier.prompts_with_owners())
        for concept in dossier.concepts:
            neighbours._note(concept.name, concept.label, concept.role)
        return neighbours

    def _note(self, name: str, label: str, role: str) -> None:
        self._names[fold(name)] = name
        self._labels.add(fold(label))
        self._retained += role == "retain"

    @property
    def known(self) -> list[str]:
        """The names of all known concepts."""
        return list(self._names.values())

    @property
    def missing(self) -> int:
        """How many more concepts are needed."""
        return max(check.NEIGHBOURS - len(self._names), check.RETAINED - self._retained, 0)

    def add(self, relation: Relation, concepts: Sequence[Neighbour]) -> None:
        """Add the concepts that are new and have enough prompts of their own."""
        for concept in concepts:
            prompts = tuple(text for text in concept.prompts if fold(text) not in self._prompts)
            ambiguous = concept.role == "retain" and fold(concept.label) in self._labels
            if not ambiguous and fold(concept.name) not in self._names and len(prompts) >= FEWEST_PROMPTS:
                self.by_name[fold(concept.name)] = (relation, concept.model_copy(update={"prompts": prompts}))
                self._note(concept.name, concept.label, concept.role)
                self._prompts.update(map(fold, prompts))

    def top_up(self, panel: Panel, validator: AnswerValidator, values: dict[str, Any]) -> None:
        """Ask for more siblings while too few concepts are known and the language models still have new ones."""
        for _ in range(TOP_UPS):
            before = len(self._names)
            if self.missing:
                request = more_siblings_request(validator, values, self.missing, self.known)
                self.add(SIBLING.relation, panel.collect([request])[0])
            if len(self._names) == before:
                break
