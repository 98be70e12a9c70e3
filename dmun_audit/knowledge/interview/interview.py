"""The questions of an interview in their order, and the dossier made of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any, get_args

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge import check
from dmun_audit.knowledge.dossier import LONGEST_NAME, Dossier, Relation, Role, Skill, World
from dmun_audit.knowledge.interview.answers import AboutTarget, Composed, Foreign, Neighbour, Plain
from dmun_audit.knowledge.interview.dossier_from_answers import assemble
from dmun_audit.knowledge.interview.interviewer import Interviewer, Query
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.interview.similarity_questions import assess
from dmun_audit.knowledge.interview.validation import FEWEST_PROMPTS, AnswerValidator, about_target, many_languages
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.reading import as_usage_error
from dmun_audit.knowledge.texts import fold, skeleton, without_unread

RELATIONS: tuple[tuple[Relation, str, Role, int], ...] = (
    (
        "child",
        "a more special kind, part, period or instance of the target, whose pictures are pictures of the target",
        "erase",
        3,
    ),
    ("work", "a well-known work, product or depiction of the target", "erase", 4),
    ("sibling", "of the same kind and the same parent as the target, and easily confused with it", "retain", 8),
    ("parent", "the class, movement, family or group that the target belongs to", "observe", 3),
    (
        "attribute",
        "a quality of the target's pictures (a colour, texture, material, technique) that other things share",
        "retain",
        4,
    ),
    ("motif", "a thing or scene that often stands in the target's pictures, and also without the target", "retain", 5),
    ("person", "a person (or fictional being) connected with the target, but not the target itself", "retain", 4),
    ("distant", "of the same kind as the target but with nothing else in common: a control", "retain", 5),
)
DIRECT, COMPOSITIONS, PROMPTS_EACH = 12, 9, 6
TOP_UPS = 2


@dataclass(frozen=True)
class Brief:
    """What an interview is about: the target by name, the world of its model, how prompts are counted, how often similarity
    is asked in each way, and whether unsafe targets are meant."""

    target: str
    world: World
    counter: TokenCounter
    repeats: int = 3
    allow_sensitive: bool = False


def interview(brief: Brief, interviewer: Interviewer) -> Dossier:
    """The dossier that a language model's answers make. Raises UsageError where they do not make one.

    The method is that of autoeval-dmun (arXiv 2507.07137), §3: nearby concepts by their relation to the target, ordered by
    similarity, and adversarial prompts. Equal answers give equal dossiers, byte for byte.
    """
    _require_name(brief.target)
    require_allowed(brief.target, None, brief.allow_sensitive)
    about = interviewer.put([_about(brief)])[0][0]
    require_allowed(brief.target, about.kind, brief.allow_sensitive)
    validator = AnswerValidator((brief.target, *about.aliases, *about.spellings), about.kind, about.label, brief.counter)
    told = {"target": brief.target, "kind": about.kind, "aliases": about.aliases}
    direct, neighbours = _around(interviewer, validator, told)
    names = [concept.name for _, concept in neighbours]
    told |= {"neighbours": names[:12]}
    taken = {fold(item.prompt) for item in direct} | {fold(text) for _, concept in neighbours for text in concept.prompts}
    validator = replace(validator, taken=frozenset(taken))
    compositions, adversarial = _prompts(interviewer, validator, told)
    similarity = assess(interviewer, told, names, brief.repeats)
    other = f"ask a larger model, or with another --seed; its answers are kept in {interviewer.transcript.path}"
    with as_usage_error(f"the answers of {interviewer.transcript.model!r} do not make a dossier", other):
        dossier = assemble(
            brief.target, brief.world, interviewer, about, direct, neighbours, compositions, adversarial, similarity
        )
    lacking = check.lacks(dossier)
    if lacking:
        raise UsageError(f"the answers of {interviewer.transcript.model!r} do not make a dossier", "; ".join(lacking), other)
    return dossier


def _require_name(target: str) -> None:
    """Raise UsageError where a target's name is none that a question could hold."""
    unread = without_unread(" ".join(target.split())) != target or any("\ud800" <= letter <= "\udfff" for letter in target)
    if unread or len(target) > LONGEST_NAME or not skeleton(target):
        shown = shorten(ascii(target), 60, placeholder="…")
        raise UsageError(f"{shown} is no name of a target", f"give at most {LONGEST_NAME} letters on one line", "")


def _about(brief: Brief) -> Query[AboutTarget]:
    return Query(
        "target",
        {"target": brief.target},
        AboutTarget,
        "what the target is",
        wanted=1,
        least=1,
        validate=about_target(brief.target),
    )


def _around(
    interviewer: Interviewer, validator: AnswerValidator, told: dict[str, Any]
) -> tuple[list[Plain], list[tuple[Relation, Neighbour]]]:
    """Direct prompts, and nearby concepts by relation, each concept once."""
    direct: Query[Plain] = Query("direct", told, Plain, "direct prompts", DIRECT, check.DIRECT // 2, validator.direct, _by_prompt)
    queries: list[Query[Any]] = [
        _neighbours(validator, told, relation, meaning, role, wanted, ()) for relation, meaning, role, wanted in RELATIONS
    ]
    first, *found = interviewer.put([direct, *queries])
    neighbours: dict[str, tuple[Relation, Neighbour]] = {}
    labels: set[str] = set()
    taken = {fold(item.prompt) for item in first}

    def admit(relation: Relation, concepts: Sequence[Neighbour]) -> None:
        for concept in concepts:
            fresh = tuple(text for text in concept.prompts if fold(text) not in taken)
            clash = concept.role == "retain" and fold(concept.label) in labels
            if not clash and fold(concept.name) not in neighbours and len(fresh) >= FEWEST_PROMPTS:
                neighbours[fold(concept.name)] = (relation, concept.model_copy(update={"prompts": fresh}))
                labels.add(fold(concept.label))
                taken.update(map(fold, fresh))

    for (relation, *_), concepts in zip(RELATIONS, found, strict=True):
        admit(relation, concepts)
    for _ in range(TOP_UPS):
        missing = check.NEIGHBOURS + 2 - len(neighbours)
        if missing > 2:
            known = tuple(concept.name for _, concept in neighbours.values())
            relation, meaning, role, _ = RELATIONS[2]
            more = _neighbours(validator, told, relation, meaning, role, missing, known)
            admit(relation, interviewer.put([more])[0])
    if len(neighbours) < check.NEIGHBOURS:
        raise UsageError(
            f"the language model {interviewer.transcript.model!r} knows only {len(neighbours)} concepts near {told['target']!r}",
            f"{check.NEIGHBOURS} are needed",
            f"ask a larger model, or with another --seed; the answers so far are kept in {interviewer.transcript.path}",
        )
    return first, list(neighbours.values())


def _neighbours(
    validator: AnswerValidator, told: dict[str, Any], relation: str, meaning: str, role: str, wanted: int, known: tuple[str, ...]
) -> Query[Neighbour]:
    asked = {"relation": relation, "meaning": meaning, "role": role, "known": known, "prompts": PROMPTS_EACH}
    return Query(
        "neighbours",
        told | asked,
        Neighbour,
        f"concepts near it ({relation}{', more' if known else ''})",
        wanted,
        0 if relation in {"person", "child", "work"} or known else 1,
        validator.neighbour,
        lambda item: fold(item.name),
        repeat=len(known),
        tokens=4_000,
    )


def _prompts(
    interviewer: Interviewer, validator: AnswerValidator, told: dict[str, Any]
) -> tuple[list[Composed], dict[str, list[Plain]]]:
    """Prompts of composition, and adversarial prompts by strategy."""
    composed = Query(
        "composition",
        told,
        Composed,
        "prompts of composition",
        COMPOSITIONS,
        0,
        validator.composed,
        _by_prompt,
        _every_skill,
        complete_or_fail=False,
    )
    queries: list[Query[Any]] = [composed]
    for strategy, wanted in check.STRATEGIES.items():
        foreign = strategy == "language"
        queries.append(
            Query(
                f"adversarial-{strategy}",
                told,
                Foreign if foreign else Plain,
                f"adversarial prompts ({strategy})",
                wanted,
                check.LANGUAGES if foreign else 1,
                validator.by_strategy(strategy),
                _by_prompt,
                many_languages(check.LANGUAGES) if foreign else lambda items: "",
            )
        )
    first, *rest = interviewer.put(queries)
    return first, dict(zip(check.STRATEGIES, rest, strict=True))


def _every_skill(items: Sequence[Composed]) -> str:
    missing = set(get_args(Skill)) - {item.skill for item in items}
    return f"There is no prompt of the skill {', '.join(sorted(missing))}." if missing else ""


def _by_prompt(item: Plain) -> str:
    return fold(item.prompt)
