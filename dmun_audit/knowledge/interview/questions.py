"""What an interview asks for: one request for each part of a dossier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from dmun_audit.knowledge import check
from dmun_audit.knowledge.dossier import Relation, Role, Skill
from dmun_audit.knowledge.interview.answers import (
    Neighbour,
    PlainPrompt,
    PromptWithLanguage,
    PromptWithSkill,
    TargetDescription,
)
from dmun_audit.knowledge.interview.interviewer import ItemRequest
from dmun_audit.knowledge.interview.validation import AnswerValidator, too_few_languages, validate_target
from dmun_audit.knowledge.parts import (
    COMPOSITION_TOPIC,
    DIRECT_TOPIC,
    MORE_CONCEPTS_TOPIC,
    NEEDED_RELATIONS,
    concepts_topic,
    strategy_topic,
)
from dmun_audit.knowledge.words.identity import identity
from dmun_audit.knowledge.words.texts import fold


class RelationQuestion(NamedTuple):
    """A question for concepts in one relation to the target. Its texts stand in the question."""

    relation: Relation
    meaning: str
    usual_role: Role
    wanted: int


RELATIONS = (
    RelationQuestion(
        "child",
        "a more special kind, part, period or instance of the target, whose pictures are pictures of the target",
        "erase",
        3,
    ),
    RelationQuestion("work", "a well-known work, product or depiction of the target", "erase", 4),
    RelationQuestion("sibling", "of the same kind and the same parent as the target, and easily confused with it", "retain", 8),
    RelationQuestion("parent", "the class, movement, family or group that the target belongs to", "observe", 3),
    RelationQuestion(
        "attribute",
        "a quality of the target's pictures (a colour, texture, material, technique) that other things share",
        "retain",
        4,
    ),
    RelationQuestion(
        "motif", "a thing or scene that often stands in the target's pictures, and also without the target", "retain", 5
    ),
    RelationQuestion("person", "a person (or fictional being) connected with the target, but not the target itself", "retain", 4),
    RelationQuestion("distant", "of the same kind as the target but with nothing else in common: a control", "retain", 5),
)
SIBLING = RELATIONS[2]
DIRECT_ASKED, COMPOSITIONS_ASKED, PROMPTS_EACH = 12, 9, 6


def description_request(target: str, *, optional: bool = False) -> ItemRequest[TargetDescription]:
    """The request that says what the target is."""
    return ItemRequest(
        template="target",
        values={"target": target},
        item_type=TargetDescription,
        topic="what the target is",
        wanted=1,
        minimum=1,
        validate=validate_target(target),
        optional=optional,
    )


def direct_request(validator: AnswerValidator, values: dict[str, Any], repeat: int = 0) -> ItemRequest[PlainPrompt]:
    """The request for direct prompts; with `repeat`, once more."""
    return ItemRequest(
        template="direct",
        values=values,
        item_type=PlainPrompt,
        topic=DIRECT_TOPIC,
        wanted=DIRECT_ASKED,
        minimum=check.DIRECT // 2,
        validate=validator.validate_direct,
        identity=_folded_prompt,
        repeat=repeat,
        optional=True,
    )


def neighbour_request(
    validator: AnswerValidator, values: dict[str, Any], question: RelationQuestion, known: Sequence[str] = ()
) -> ItemRequest[Neighbour]:
    """A request for concepts in one relation, other than those `known`."""
    minimum = 1 if question.relation in NEEDED_RELATIONS else 0
    return _neighbours(validator, values, question, known, concepts_topic(question.relation), question.wanted, minimum)


def more_siblings_request(
    validator: AnswerValidator, values: dict[str, Any], missing: int, known: Sequence[str]
) -> ItemRequest[Neighbour]:
    """A request for more siblings, because `missing` concepts are still needed; two to spare are asked for."""
    return _neighbours(validator, values, SIBLING, known, MORE_CONCEPTS_TOPIC, missing + 2, missing)


def _neighbours(
    validator: AnswerValidator,
    values: dict[str, Any],
    question: RelationQuestion,
    known: Sequence[str],
    topic: str,
    wanted: int,
    minimum: int,
) -> ItemRequest[Neighbour]:
    relation_values = {"relation": question.relation, "meaning": question.meaning, "role": question.usual_role}
    return ItemRequest(
        template="neighbours",
        values=values | relation_values | {"known": tuple(known), "prompts": PROMPTS_EACH},
        item_type=Neighbour,
        topic=topic,
        wanted=wanted,
        minimum=minimum,
        validate=validator.validate_neighbour,
        identity=lambda item: identity(item.name),
        repeat=len(known),
        max_tokens=4_000,
        optional=True,
    )


def composition_request(validator: AnswerValidator, values: dict[str, Any]) -> ItemRequest[PromptWithSkill]:
    """The request for prompts of composition, of every skill if possible."""
    return ItemRequest(
        template="composition",
        values=values,
        item_type=PromptWithSkill,
        topic=COMPOSITION_TOPIC,
        wanted=COMPOSITIONS_ASKED,
        minimum=1,
        validate=validator.validate_composition,
        identity=_folded_prompt,
        list_problem=_missing_skills,
        list_problem_fails=False,
        optional=True,
    )


def adversarial_request(
    validator: AnswerValidator, values: dict[str, Any], strategy: str, languages: int = check.LANGUAGES
) -> ItemRequest[Any]:
    """The request for adversarial prompts of one strategy; by language, in at least so many `languages` besides English."""
    in_languages = strategy == "language"
    return ItemRequest(
        template=f"adversarial-{strategy}",
        values=values,
        item_type=PromptWithLanguage if in_languages else PlainPrompt,
        topic=strategy_topic(strategy),
        wanted=check.STRATEGIES[strategy],
        minimum=languages if in_languages else 1,
        validate=validator.validate_adversarial(strategy),
        identity=_folded_prompt,
        list_problem=too_few_languages(languages) if in_languages else lambda items: "",
        optional=True,
    )


def _missing_skills(items: Sequence[PromptWithSkill]) -> str:
    missing = set(get_args(Skill)) - {item.skill for item in items}
    return f"There is no prompt of the skill {', '.join(sorted(missing))}." if missing else ""


def _folded_prompt(item: PlainPrompt) -> str:
    return fold(item.prompt)
