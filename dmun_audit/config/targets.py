"""The targets of a session, each with its dossier: every target gets its own audit config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit._util.paths import expanded
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.dossiers import target_names
from dmun_audit.config.earlier_runs import refuse_runs_of_no_target
from dmun_audit.config.options import Options, refuse_empty
from dmun_audit.config.resolve import Models, Question, find_models, planned, question_of
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.language_models.reference import names_language_model
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.plan.waivers import check_waivers

SEPARATOR = ":"  # between the prefix of a target and the id of a case; no slug contains it


def resolve_all(
    options: Options, targets: Sequence[str], knowledge: Sequence[str], *, only_listed: bool = False
) -> list[AuditConfig]:
    """One config for each target of one model, in the order of the command line. Raises UsageError for bad input.

    `options` hold everything but targets and knowledge. All configs share models, policy and store. Each has the seed that it has
    alone. `only_listed` is as in `resolve.planned`.
    """
    pairs = targets_with_knowledge(targets, knowledge)
    configs = [planned(each, only_listed=only_listed) for each in questions_for(options, find_models(options), pairs)]
    check_waivers([config.plan for config in configs], configs[0].day)
    if len(configs) == 1:
        return configs
    return placed(options, configs, prefixes([config.dossier.target.name for config in configs]))


def questions_for(options: Options, models: Models, pairs: Sequence[tuple[str | None, str | None]]) -> list[Question]:
    """What is asked of one candidate: a question for each pair of a target and its knowledge. Raises UsageError for bad input."""
    questions = [
        question_of(replace(options, target=target, knowledge=reference), models, among_others=len(pairs) > 1)
        for target, reference in pairs
    ]
    dossiers = [question.dossier for question in questions]
    refuse_runs_of_no_target("regress", options.regress, dossiers)
    refuse_runs_of_no_target("baseline", options.baseline, dossiers)
    _refuse_duplicates([(_as_option(*pair), question.dossier) for pair, question in zip(pairs, questions, strict=True)])
    return questions


def placed(options: Options, configs: Sequence[AuditConfig], names: Sequence[str]) -> list[AuditConfig]:
    """The configs of several audits with their prefixes; with `--audit-dir`, each has the folder of that name in it."""
    folder = expanded(options.audit_dir, f"--audit-dir={options.audit_dir}") if options.audit_dir else None
    return [
        replace(config, prefix=name, run_folder=folder / name if folder else config.run_folder)
        for config, name in zip(configs, names, strict=True)
    ]


def targets_with_knowledge(targets: Sequence[str], knowledge: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Every target with its `--knowledge`. The target is None if it is not named; the knowledge is None for a built-in pack.

    Raises UsageError for empty names, for a target that is given twice and for a dossier of no target.
    """
    for option in (*(Options(target=name) for name in targets), *(Options(knowledge=name) for name in knowledge)):
        refuse_empty(option)
    if len(targets) < 2 and len(knowledge) < 2:
        return [(next(iter(targets), None), next(iter(knowledge), None))]
    for first, second in combinations(targets, 2):
        if fold(first) == fold(second):
            raise _duplicate(_as_option(first, None), _as_option(second, None), "capitals and spaces do not distinguish names")
    language_models = [reference for reference in knowledge if names_language_model(reference)]
    if len(language_models) > 1:
        raise UsageError(
            f"--knowledge names {len(language_models)} language models: {', '.join(language_models)}",
            "one language model makes the dossiers of all targets without a dossier",
            "name one of them",
        )
    dossiers = [(reference, open_knowledge(reference)) for reference in knowledge if reference not in language_models]
    _refuse_duplicates([(_as_option(None, reference), dossier) for reference, dossier in dossiers])
    if targets:
        by_target = _dossiers_by_target(targets, dossiers)
        return [(target, by_target.get(target, next(iter(language_models), None))) for target in targets]
    if language_models:
        raise UsageError(
            f"--knowledge={language_models[0]} is a language model without a target",
            "without --target the targets of the dossiers are audited",
            'add --target="…" for every target, or omit the language model',
        )
    return [(None, reference) for reference, _ in dossiers]


def _dossiers_by_target(targets: Sequence[str], dossiers: Sequence[tuple[str, Dossier]]) -> dict[str, str]:
    """The dossier of each target. A target matches the dossier's name of its target, or an alias."""
    by_target = {}
    for reference, dossier in dossiers:
        matches = [target for target in targets if fold(target) in target_names(dossier)]
        if not matches:
            raise UsageError(
                f"--knowledge={reference} is about {dossier.target.name!r}, which is none of the targets",
                f"the targets are: {', '.join(targets)}",
                f"add --target={dossier.target.name!r}, or omit the dossier",
            )
        if len(matches) > 1:
            reason = f"{reference} has both names for {dossier.target.name!r}"
            raise _duplicate(_as_option(matches[0], None), _as_option(matches[1], None), reason)
        by_target[matches[0]] = reference
    return by_target


def _refuse_duplicates(dossiers: Sequence[tuple[str, Dossier]]) -> None:
    for (option, dossier), (other_option, other_dossier) in combinations(dossiers, 2):
        if shared := target_names(dossier) & target_names(other_dossier):
            raise _duplicate(option, other_option, f"both have the name {min(shared)!r}")


def _duplicate(option: str, other_option: str, why: str) -> UsageError:
    return UsageError(f"the same target is given twice: {option} and {other_option}", why, "omit one of them")


def _as_option(target: str | None, reference: str | None) -> str:
    return f"--target={target!r}" if target is not None else f"--knowledge={reference}"


def prefixes(names: Sequence[str]) -> list[str]:
    """A slug for each name. No slug ends with another one, so that a node id never matches two targets."""
    slugs = [slug(name) for name in names]
    return [
        f"{prefix}-{digest(names[place])[:8]}"
        if any(other.endswith(prefix) for position, other in enumerate(slugs) if position != place)
        else prefix
        for place, prefix in enumerate(slugs)
    ]
