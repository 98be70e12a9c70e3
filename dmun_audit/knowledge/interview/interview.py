"""The questions of an interview in their order, and the dossier made of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any, NamedTuple, get_args

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge import check
from dmun_audit.knowledge.dossier import LONGEST_NAME, Dossier, Relation, Role, Skill, World
from dmun_audit.knowledge.identity import identity
from dmun_audit.knowledge.interview.aliases import TargetNames, confirm_names
from dmun_audit.knowledge.interview.answers import (
    Neighbour,
    PlainPrompt,
    PromptWithLanguage,
    PromptWithSkill,
    TargetDescription,
)
from dmun_audit.knowledge.interview.dossier_from_answers import InterviewAnswers, assemble
from dmun_audit.knowledge.interview.interviewer import Interviewer, ItemRequest
from dmun_audit.knowledge.interview.labels import relabelled
from dmun_audit.knowledge.interview.neighbours import Neighbours
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.interview.similarity_questions import assess_similarity
from dmun_audit.knowledge.interview.validation import AnswerValidator, too_few_languages, validate_target
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.reading import as_usage_error
from dmun_audit.knowledge.texts import fold, skeleton, without_hidden_characters


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
MAY_BE_EMPTY = frozenset({"person", "child", "work"})  # relations in which some targets have no concept
DIRECT_PROMPTS, COMPOSITIONS, PROMPTS_EACH = 12, 9, 6
TOP_UPS = 2  # times that more siblings are asked for
NEIGHBOURS_SHOWN = 12  # in questions for prompts


@dataclass(frozen=True)
class InterviewTask:
    """What an interview is about.

    `target` is its name, `world` the world of the model before unlearning, `counter` the tokenizer that limits prompts.
    Similarity is rated and ranked `repeats` times each. An unsafe target needs `allow_sensitive`.
    """

    target: str
    world: World
    counter: TokenCounter
    repeats: int = 3
    allow_sensitive: bool = False


def interview(task: InterviewTask, interviewer: Interviewer) -> Dossier:
    """The dossier made of a language model's answers. Raises UsageError if the answers do not suffice.

    The method follows autoeval-dmun (arXiv 2507.07137), §3: nearby concepts by their relation to the target, ordered by
    similarity, and adversarial prompts. Equal answers give equal dossiers, byte for byte.
    """
    _require_valid_name(task.target)
    require_allowed(task.target, None, task.allow_sensitive)
    description = interviewer.collect([_description_request(task.target)])[0][0]
    require_allowed(task.target, description.kind, task.allow_sensitive)
    names = confirm_names(interviewer, task.target, description)
    validator = AnswerValidator(names.all, description.kind, names.label(description.label), task.counter, about=names)
    values = {"target": task.target, "kind": description.kind, "aliases": names.described(description).aliases}
    names, direct, neighbours = _direct_prompts_and_neighbours(interviewer, names, validator, values)
    remarks, description = names.remarks(description.label), names.described(description)
    validator = replace(validator, names=names.all, label=description.label, about=names)
    values |= {"aliases": description.aliases}
    concepts = [concept.name for _, concept in neighbours]
    values |= {"neighbours": concepts[:NEIGHBOURS_SHOWN]}
    used = {fold(item.prompt) for item in direct} | {fold(text) for _, concept in neighbours for text in concept.prompts}
    validator = replace(validator, used=frozenset(used))
    compositions, adversarial = _compositions_and_adversarial_prompts(interviewer, validator, values)
    similarity = assess_similarity(interviewer, values, concepts, task.repeats)
    answers = InterviewAnswers(description, direct, neighbours, compositions, adversarial, similarity, remarks)
    return _complete_dossier(task, interviewer, answers)


def _complete_dossier(task: InterviewTask, interviewer: Interviewer, answers: InterviewAnswers) -> Dossier:
    """The dossier of the answers. Raises UsageError if it is not valid or has too little of something."""
    message = f"the answers of {interviewer.transcript.model!r} do not make a dossier"
    remedy = f"ask a larger model, or with another --seed; its answers are kept in {interviewer.transcript.path}"
    with as_usage_error(message, remedy):
        dossier = assemble(task.target, task.world, interviewer, answers)
    if shortfalls := check.shortfalls(dossier):
        raise UsageError(message, "; ".join(shortfalls), remedy)
    return dossier


def _require_valid_name(target: str) -> None:
    """Raise UsageError for a name that cannot stand in a question."""
    hidden = without_hidden_characters(" ".join(target.split())) != target
    surrogates = any("\ud800" <= letter <= "\udfff" for letter in target)
    if hidden or surrogates or len(target) > LONGEST_NAME or not skeleton(target):
        shown = shorten(ascii(target), 60, placeholder="…")
        raise UsageError(f"{shown} is no name of a target", f"give at most {LONGEST_NAME} letters on one line", "")


def _description_request(target: str) -> ItemRequest[TargetDescription]:
    return ItemRequest(
        template="target",
        values={"target": target},
        item_type=TargetDescription,
        topic="what the target is",
        wanted=1,
        minimum=1,
        validate=validate_target(target),
    )


def _direct_prompts_and_neighbours(
    interviewer: Interviewer, names: TargetNames, validator: AnswerValidator, values: dict[str, Any]
) -> tuple[TargetNames, list[PlainPrompt], list[tuple[Relation, Neighbour]]]:
    """The settled names of the target, direct prompts, and nearby concepts with their relation, each concept once.

    Nearby concepts are asked for without the names that were only confirmed: one that is named as a nearby concept is refused.
    """
    certain = replace(validator, names=(names.own, *names.certain))
    shown = values | {"aliases": tuple(name for name in values["aliases"] if name in names.certain)}
    requests = [_neighbour_request(certain, shown, question, question.wanted) for question in RELATIONS]
    direct, *lists = interviewer.collect([_direct_request(validator, values), *requests])
    names = names.without_neighbours(validator.dropped.named, validator.dropped.parts)
    validator = replace(validator, names=names.all, label=names.label(validator.label), about=names)
    values = values | {"aliases": tuple(name for name in values["aliases"] if name in names.all)}
    direct = _still_direct(interviewer, direct, validator, values)
    neighbours = Neighbours(direct, validator.dropped)
    for question, concepts in zip(RELATIONS, lists, strict=True):
        neighbours.add(question.relation, concepts)
    neighbours.settle(validator)
    unclear = [concept for _, concept in neighbours.ambiguous.values()]
    neighbours.add_relabelled(relabelled(interviewer, values, unclear, [validator.label, *neighbours.labels]))
    for _ in range(TOP_UPS):
        missing = check.NEIGHBOURS + 2 - len(neighbours.by_name)
        if missing > 2:
            known = tuple(concept.name for _, concept in neighbours.by_name.values())
            request = _neighbour_request(validator, values, SIBLING, missing, known)
            neighbours.add(SIBLING.relation, interviewer.collect([request])[0])
    if len(neighbours.by_name) < check.NEIGHBOURS:
        raise UsageError(
            f"the language model {interviewer.transcript.model!r} knows only {len(neighbours.by_name)} concepts near "
            f"{values['target']!r}",
            "; ".join(filter(None, (f"{check.NEIGHBOURS} are needed", neighbours.dropped()))),
            f"ask a larger model, or with another --seed; the answers so far are kept in {interviewer.transcript.path}",
        )
    return names, direct, list(neighbours.by_name.values())


def _direct_request(validator: AnswerValidator, values: dict[str, Any], repeat: int = 0) -> ItemRequest[PlainPrompt]:
    return ItemRequest(
        template="direct",
        values=values,
        item_type=PlainPrompt,
        topic="direct prompts",
        wanted=DIRECT_PROMPTS,
        minimum=check.DIRECT // 2,
        validate=validator.validate_direct,
        identity=_folded_prompt,
        repeat=repeat,
    )


def _still_direct(
    interviewer: Interviewer, direct: list[PlainPrompt], validator: AnswerValidator, values: dict[str, Any]
) -> list[PlainPrompt]:
    """The direct prompts that name the target by its settled names; asked for again if these are too few."""
    kept = [item for item in direct if validator.validate_direct(item)[0] is not None]
    if len(kept) >= check.DIRECT // 2:
        return kept
    return interviewer.collect([_direct_request(validator, values, repeat=1)])[0]


def _neighbour_request(
    validator: AnswerValidator, values: dict[str, Any], question: RelationQuestion, wanted: int, known: tuple[str, ...] = ()
) -> ItemRequest[Neighbour]:
    """A request for concepts in one relation, other than those `known`."""
    relation_values = {"relation": question.relation, "meaning": question.meaning, "role": question.usual_role}
    return ItemRequest(
        template="neighbours",
        values=values | relation_values | {"known": known, "prompts": PROMPTS_EACH},
        item_type=Neighbour,
        topic=f"concepts near it ({question.relation}{', more' if known else ''})",
        wanted=wanted,
        minimum=0 if question.relation in MAY_BE_EMPTY or known else 1,
        validate=validator.validate_neighbour,
        identity=lambda item: identity(item.name),
        repeat=len(known),
        max_tokens=4_000,
    )


def _compositions_and_adversarial_prompts(
    interviewer: Interviewer, validator: AnswerValidator, values: dict[str, Any]
) -> tuple[list[PromptWithSkill], dict[str, list[PlainPrompt]]]:
    """Prompts of composition, and adversarial prompts by strategy."""
    composition_request = ItemRequest(
        template="composition",
        values=values,
        item_type=PromptWithSkill,
        topic="prompts of composition",
        wanted=COMPOSITIONS,
        minimum=0,
        validate=validator.validate_composition,
        identity=_folded_prompt,
        list_problem=_missing_skills,
        list_problem_fails=False,
    )
    requests = [_adversarial_request(validator, values, strategy, wanted) for strategy, wanted in check.STRATEGIES.items()]
    compositions, *adversarial = interviewer.collect([composition_request, *requests])
    return compositions, dict(zip(check.STRATEGIES, adversarial, strict=True))


def _adversarial_request(validator: AnswerValidator, values: dict[str, Any], strategy: str, wanted: int) -> ItemRequest[Any]:
    in_languages = strategy == "language"
    return ItemRequest(
        template=f"adversarial-{strategy}",
        values=values,
        item_type=PromptWithLanguage if in_languages else PlainPrompt,
        topic=f"adversarial prompts ({strategy})",
        wanted=wanted,
        minimum=check.LANGUAGES if in_languages else 1,
        validate=validator.validate_adversarial(strategy),
        identity=_folded_prompt,
        list_problem=too_few_languages(check.LANGUAGES) if in_languages else lambda items: "",
    )


def _missing_skills(items: Sequence[PromptWithSkill]) -> str:
    missing = set(get_args(Skill)) - {item.skill for item in items}
    return f"There is no prompt of the skill {', '.join(sorted(missing))}." if missing else ""


def _folded_prompt(item: PlainPrompt) -> str:
    return fold(item.prompt)
