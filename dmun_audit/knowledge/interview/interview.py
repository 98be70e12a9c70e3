"""The order of the questions of an interview, and the dossier made of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge import check
from dmun_audit.knowledge.dossier import LONGEST_NAME, Dossier, Kind, Relation, World
from dmun_audit.knowledge.interview.aliases import TargetNames, confirm_names
from dmun_audit.knowledge.interview.answers import Neighbour, PlainPrompt, PromptWithSkill, TargetDescription
from dmun_audit.knowledge.interview.dossier_from_answers import InterviewAnswers, assemble
from dmun_audit.knowledge.interview.neighbours import Neighbours
from dmun_audit.knowledge.interview.own_direct_prompts import label_of, own_direct_prompts
from dmun_audit.knowledge.interview.panel import Panel
from dmun_audit.knowledge.interview.provenance import finished, similarity_sentences
from dmun_audit.knowledge.interview.questions import (
    RELATIONS,
    adversarial_request,
    composition_request,
    description_request,
    direct_request,
    neighbour_request,
)
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.interview.similarity_questions import assess_similarity
from dmun_audit.knowledge.interview.validation import AnswerValidator
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.parts import DIRECT_TOPIC
from dmun_audit.knowledge.reading import as_usage_error
from dmun_audit.knowledge.words.texts import fold, skeleton, without_hidden_characters

NEIGHBOURS_SHOWN = 12  # in questions for prompts


@dataclass(frozen=True)
class InterviewTask:
    """What an interview is about.

    `target` is its name, `world` the world of the model before unlearning, `counter` the tokenizer that limits prompts.
    Similarity is rated and ranked `repeats` times each. An unsafe target needs `allow_sensitive`. With a `kind` given by the
    user, the interview goes on even if no language model can say what the target is.
    """

    target: str
    world: World
    counter: TokenCounter
    repeats: int = 3
    allow_sensitive: bool = False
    kind: Kind | None = None


def interview(task: InterviewTask, panel: Panel) -> Dossier:
    """The dossier made of the answers of one language model or several. A part that none could give makes it thin.

    The method follows autoeval-dmun (arXiv 2507.07137), §3: nearby concepts by their relation to the target, ordered by
    similarity, and adversarial prompts. Equal answers give equal dossiers, byte for byte. Raises UsageError if no language model
    can say what the target is, or none knows a concept to retain: an audit measures damage and the judge's mistakes on those.
    """
    require_valid_name(task.target)
    require_allowed(task.target, task.kind, task.allow_sensitive)
    said: dict[str, str] = {}
    description, other_kind = _description(task, panel, said)
    require_allowed(task.target, description.kind, task.allow_sensitive)
    names = confirm_names(panel, task.target, description)
    validator = AnswerValidator(names.all, description.kind, names.label(description.label), task.counter, about=names)
    values = {"target": task.target, "kind": description.kind, "aliases": names.described(description).aliases}
    names, direct, neighbours = _direct_prompts_and_neighbours(task, panel, names, validator, values, said)
    remarks, description = (*other_kind, *names.remarks(description.label)), names.described(description)
    validator = replace(validator, names=names.all, label=description.label, about=names)
    values |= {"aliases": description.aliases}
    concepts = [concept.name for _, concept in neighbours]
    values |= {"neighbours": concepts[:NEIGHBOURS_SHOWN]}
    used = {fold(item.prompt) for item in direct} | {fold(text) for _, concept in neighbours for text in concept.prompts}
    validator = replace(validator, used=frozenset(used))
    compositions, adversarial = _compositions_and_adversarial_prompts(panel, validator, values)
    similarity = assess_similarity(panel, values, concepts, task.repeats, optional=True)
    said |= similarity_sentences(similarity, concepts, panel)
    answers = InterviewAnswers(description, direct, neighbours, compositions, adversarial, similarity, remarks)
    with as_usage_error(f"the answers of {panel.model!r} do not make a dossier", _remedy(panel)):
        return finished(assemble(task.target, task.world, panel, answers), panel, said)


def _remedy(panel: Panel) -> str:
    paths = ", ".join(str(each.transcript.path) for each in panel.interviewers)
    return f"ask a larger model, or with another --seed, or a second one with a second --llm; the answers are kept in {paths}"


def require_valid_name(target: str) -> None:
    """Raise UsageError for a name that cannot stand in a question."""
    hidden = without_hidden_characters(" ".join(target.split())) != target
    surrogates = any("\ud800" <= letter <= "\udfff" for letter in target)
    if hidden or surrogates or len(target) > LONGEST_NAME or not skeleton(target):
        shown = shorten(ascii(target), 60, placeholder="…")
        raise UsageError(f"{shown} is no name of a target", f"give at most {LONGEST_NAME} letters on one line", "")


def _description(task: InterviewTask, panel: Panel, said: dict[str, str]) -> tuple[TargetDescription, tuple[str, ...]]:
    """What the target is, and a remark if the language model takes it for another kind than the user, whose kind counts.

    Adds what it lacks to `said`.
    """
    request = description_request(task.target, optional=task.kind is not None)
    (items,) = panel.collect([request])
    if task.kind is None or (items and items[0].kind == task.kind):
        return items[0], ()
    label = label_of(task.target, task.kind)
    if not items:
        said[request.topic] = (
            f"No description of the target{panel.reason(request.topic)}. Its kind is that of --kind, its label {label!r}."
        )
        return TargetDescription(kind=task.kind, aliases=(), spellings=(), label=label), ()
    remark = (
        f"The language model took the target for another kind ({items[0].kind}) than --kind says ({task.kind}), so its label is "
        f"{label!r}."
    )
    return items[0].model_copy(update={"kind": task.kind, "label": label}), (remark,)


def _direct_prompts_and_neighbours(
    task: InterviewTask,
    panel: Panel,
    names: TargetNames,
    validator: AnswerValidator,
    values: dict[str, Any],
    said: dict[str, str],
) -> tuple[TargetNames, list[PlainPrompt], list[tuple[Relation, Neighbour]]]:
    """The settled names of the target, direct prompts, and nearby concepts with their relation, each concept once.

    Nearby concepts are asked for without the names that were only confirmed: one that is named as a nearby concept is refused.
    Adds what prompts and concepts lack to `said`.
    """
    certain = replace(validator, names=(names.own, *names.certain))
    shown = values | {"aliases": tuple(name for name in values["aliases"] if name in names.certain)}
    requests = [neighbour_request(certain, shown, question) for question in RELATIONS]
    direct, *lists = panel.collect([direct_request(validator, values), *requests])
    names = names.without_neighbours(validator.dropped.named, validator.dropped.parts)
    validator = replace(validator, names=names.all, label=names.label(validator.label), about=names)
    values = values | {"aliases": tuple(name for name in values["aliases"] if name in names.all)}
    direct = _enough_direct_prompts(task, panel, direct, validator, values, said)
    neighbours = Neighbours((item.prompt for item in direct), validator.dropped)
    for question, concepts in zip(RELATIONS, lists, strict=True):
        neighbours.add(question.relation, concepts)
    neighbours.settle(validator)
    neighbours.relabel(panel, validator, values)
    neighbours.top_up(panel, validator, values)
    known = list(neighbours.by_name.values())
    if neighbours.missing and neighbours.dropped():
        said["dropped concepts"] = f"{neighbours.dropped()}."
    if not direct or not any(concept.role == "retain" for _, concept in known):
        what = "no concept to retain" if direct else "no direct prompt that the text encoder reads to its end"
        counts = (
            f"{len(known)} nearby concepts and {len(direct)} direct prompts are valid; an audit needs one prompt and one concept to "
            "retain at least"
        )
        raise UsageError(
            f"the answers of {panel.model!r} about {task.target!r} hold {what}",
            "; ".join(filter(None, (counts, neighbours.dropped()))),
            _remedy(panel),
        )
    return names, direct, known


def _enough_direct_prompts(
    task: InterviewTask,
    panel: Panel,
    direct: Sequence[PlainPrompt],
    validator: AnswerValidator,
    values: dict[str, Any],
    said: dict[str, str],
) -> list[PlainPrompt]:
    """The direct prompts that name the target by its settled names.

    If settling the names left too few, they are asked for again. What is still missing is made of the own name; `said` says so.
    """
    least = check.DIRECT // 2
    kept = [item for item in direct if validator.validate_direct(item)[0] is not None]
    if len(kept) < least <= len(direct):
        kept = panel.collect([direct_request(validator, values, repeat=1)])[0]
    if len(kept) >= least:
        return kept
    own = own_direct_prompts(task.target, validator.kind, task.counter, [item.prompt for item in kept], check.DIRECT)
    said[DIRECT_TOPIC] = (
        f"{len(kept) or 'No'} direct prompts came from the language model{panel.reason(DIRECT_TOPIC)}. {len(own)} were made from the "
        "target's name by fixed templates."
    )
    return [*kept, *(PlainPrompt(prompt=text) for text in own)]


def _compositions_and_adversarial_prompts(
    panel: Panel, validator: AnswerValidator, values: dict[str, Any]
) -> tuple[list[PromptWithSkill], dict[str, list[PlainPrompt]]]:
    """Prompts of composition, and adversarial prompts by strategy."""
    requests = [adversarial_request(validator, values, strategy) for strategy in check.STRATEGIES]
    compositions, *adversarial = panel.collect([composition_request(validator, values), *requests])
    return compositions, dict(zip(check.STRATEGIES, adversarial, strict=True))
