"""The nearby concepts of an interview, each once, whatever its spelling."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.knowledge.dossier import Relation
from dmun_audit.knowledge.identity import identity
from dmun_audit.knowledge.interview.answers import Neighbour, PlainPrompt
from dmun_audit.knowledge.interview.dropped import FEW_PROMPTS, NAMES_TARGET, REPEATED_LABEL, Dropped
from dmun_audit.knowledge.interview.validation import FEWEST_PROMPTS, AnswerValidator
from dmun_audit.knowledge.texts import fold


class Neighbours:
    """Nearby concepts by their identity. Each prompt belongs to one concept; a concept to retain has a label of its own.

    `ambiguous` holds concepts to retain whose label another concept has, until they get another label.
    """

    def __init__(self, direct: Sequence[PlainPrompt], dropped: Dropped) -> None:
        self.by_name: dict[str, tuple[Relation, Neighbour]] = {}
        self.ambiguous: dict[str, tuple[Relation, Neighbour]] = {}
        self._dropped = dropped
        self._prompts = {fold(item.prompt) for item in direct}

    @property
    def labels(self) -> list[str]:
        """The labels of all concepts so far, each once, in order."""
        return list(dict.fromkeys(concept.label for _, concept in self.by_name.values()))

    def add(self, relation: Relation, concepts: Sequence[Neighbour]) -> None:
        """Add the concepts that are new and have enough prompts of their own."""
        for concept in concepts:
            key = identity(concept.name)
            if key in self.by_name or key in self.ambiguous:
                self._dropped.repeated += 1
            elif concept.role == "retain" and fold(concept.label) in set(map(fold, self.labels)):
                self.ambiguous[key] = (relation, concept)
                self._dropped.reasons[key] = REPEATED_LABEL
            else:
                self._add(key, relation, concept)

    def add_relabelled(self, concepts: Sequence[Neighbour]) -> None:
        """Add ambiguous concepts that have another label now; the rest of them is dropped."""
        relations = {key: relation for key, (relation, _) in self.ambiguous.items()}
        self.ambiguous = {}
        for concept in concepts:
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
