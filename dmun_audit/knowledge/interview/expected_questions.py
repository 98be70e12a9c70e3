"""How many questions an interview, an ordering or a search will ask, and how long they are, before the first is asked.

The numbers follow from the interview's own lists and from the lengths of its templates and schemas. A question that must be asked
again is not foreseen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from dmun_audit.knowledge import check
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview import templates
from dmun_audit.knowledge.interview.aliases import SameThing
from dmun_audit.knowledge.interview.answers import (
    Neighbour,
    NumberedPrompt,
    NumberedRating,
    PlainPrompt,
    PromptWithLanguage,
    PromptWithSkill,
    PromptWithStrategy,
    RankedNumber,
    SimilarityRating,
    TargetDescription,
    answer_schema,
)
from dmun_audit.knowledge.interview.interview import NEIGHBOURS_SHOWN
from dmun_audit.knowledge.interview.questions import COMPOSITIONS_ASKED, DIRECT_ASKED, PROMPTS_EACH, RELATIONS
from dmun_audit.knowledge.language_models.preflight import CHARACTERS_PER_TOKEN, QuestionPlan

NAME_CHARACTERS = 17  # of a concept's name on a numbered line of its own, as the packs have them
PROMPT_CHARACTERS = 67  # of one prompt in JSON, as the packs have them
NAMES_IN_DOUBT = 8  # that are confirmed, with the decoys among them
ATTACK_SHOWN = 24  # prompts with their scores
IMAGE_TOKENS = 300  # of one image; models differ
ITEM_CHARACTERS: dict[type[BaseModel], int] = {
    TargetDescription: 240,
    PlainPrompt: PROMPT_CHARACTERS,
    PromptWithLanguage: PROMPT_CHARACTERS + 20,
    PromptWithSkill: PROMPT_CHARACTERS + 30,
    PromptWithStrategy: PROMPT_CHARACTERS + 45,
    NumberedPrompt: PROMPT_CHARACTERS + 35,
    Neighbour: 127 + PROMPTS_EACH * 38,
    NumberedRating: 28,
    RankedNumber: 15,
    SimilarityRating: 16,
    SameThing: 70,
}
"""The length of one item of an answer in JSON, as the packs and the schemas have it."""


@dataclass(frozen=True)
class _Expected:
    """A question: its template, the items of its answer, and further characters and tokens in it."""

    template: str
    item_type: type[BaseModel]
    items: int
    further_characters: int = 0
    further_tokens: int = 0

    @property
    def tokens_in(self) -> int:
        schema = answer_schema(self.item_type, 1, 2 * self.items)
        characters = sum(_template_length(name) for name in ("system", self.template)) + len(json.dumps(schema))
        return round((characters + self.further_characters) / CHARACTERS_PER_TOKEN) + self.further_tokens

    @property
    def tokens_out(self) -> int:
        return round(self.items * ITEM_CHARACTERS[self.item_type] / CHARACTERS_PER_TOKEN) + 8


def _template_length(name: str) -> int:
    return (templates.FOLDER / f"{name}.md").stat().st_size


def _plan(questions: Sequence[_Expected]) -> QuestionPlan:
    tokens_in, tokens_out = [q.tokens_in for q in questions], [q.tokens_out for q in questions]
    longest = max((into + 2 * out for into, out in zip(tokens_in, tokens_out, strict=True)), default=0)  # asked once more
    return QuestionPlan(len(questions), sum(tokens_in), sum(tokens_out), longest)


def expected_interview(repeats: int) -> QuestionPlan:
    """The questions of `dossier build`, with `repeats` ratings and rankings."""
    shown = NEIGHBOURS_SHOWN * NAME_CHARACTERS
    return _plan(
        [
            _Expected("target", TargetDescription, 1),
            _Expected("same-thing", SameThing, NAMES_IN_DOUBT, NAMES_IN_DOUBT * NAME_CHARACTERS),
            _Expected("direct", PlainPrompt, DIRECT_ASKED),
            *(_Expected("neighbours", Neighbour, question.wanted) for question in RELATIONS),
            _Expected("composition", PromptWithSkill, COMPOSITIONS_ASKED, shown),
            *(
                _Expected(f"adversarial-{strategy}", PromptWithLanguage if strategy == "language" else PlainPrompt, wanted, shown)
                for strategy, wanted in check.STRATEGIES.items()
            ),
            *_similarity(repeats, sum(question.wanted for question in RELATIONS)),
        ]
    )


def expected_ordering(repeats: int, concepts: int) -> QuestionPlan:
    """The questions of an ordering of so many concepts, with `repeats` ratings and rankings."""
    return _plan(_similarity(repeats, concepts))


def _similarity(repeats: int, concepts: int) -> list[_Expected]:
    listed = concepts * NAME_CHARACTERS
    rated = _Expected("rate", NumberedRating, concepts, listed)
    return [rated] * repeats + [_Expected("rank", RankedNumber, concepts, listed)] * repeats


def expected_looks(concepts: int, images: int) -> QuestionPlan:
    """The questions of an ordering by images, `images` of them in each question."""
    return _plan([_Expected("look", SimilarityRating, 1, further_tokens=images * IMAGE_TOKENS)] * concepts)


def expected_refinement(rounds: int, dossier: Dossier) -> QuestionPlan:
    """The questions of `dossier refine`, if half of the prompts need a replacement in every round."""
    prompts = max(1, len(dossier.adversarial) // 2)
    return _plan([_Expected("refine", NumberedPrompt, prompts, 2 * prompts * PROMPT_CHARACTERS)] * rounds)


def expected_attack(rounds: int, proposals: int) -> QuestionPlan:
    """The questions of `dossier attack`, each of which shows the prompts tried so far."""
    return _plan([_Expected("attack", PromptWithStrategy, proposals, ATTACK_SHOWN * 2 * PROMPT_CHARACTERS)] * rounds)
