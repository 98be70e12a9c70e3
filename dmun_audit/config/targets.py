"""Which targets a session audits, and with which dossier each: every target becomes a setup of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.dossiers import names_of
from dmun_audit.config.options import Options, refuse_empty
from dmun_audit.config.resolve import find_models, resolve
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.language_models.reference import names_language_model
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.texts import fold
from dmun_audit.plan.waivers import check_waivers

SEPARATOR = ":"  # between the prefix of a target and the id of a case: no slug has it


def resolve_all(options: Options, targets: Sequence[str], knowledge: Sequence[str]) -> list[AuditConfig]:
    """One setup for each target, in the order in which they were asked for; raises UsageError for bad input.

    `options` hold everything else than targets and knowledge. All setups share models, policy, seed and store.
    """
    for option in (*(Options(target=name) for name in targets), *(Options(knowledge=name) for name in knowledge)):
        refuse_empty(option)
    pairs = with_knowledge(targets, knowledge)
    if len(pairs) == 1:
        return _checked([resolve(replace(options, target=pairs[0][0], knowledge=pairs[0][1]))])
    models = find_models(options)
    alone = replace(options, audit_dir=None)
    setups = [resolve(replace(alone, target=target, knowledge=reference), models) for target, reference in pairs]
    _refuse_twice([(_spelt(*pair), setup.dossier) for pair, setup in zip(pairs, setups, strict=True)])
    prefixes = _prefixes([setup.dossier.target.name for setup in _checked(setups)])
    return [
        replace(
            setup,
            prefix=prefix,
            run_folder=Path(options.audit_dir).expanduser() / prefix if options.audit_dir else setup.run_folder,
        )
        for setup, prefix in zip(setups, prefixes, strict=True)
    ]


def _checked(setups: list[AuditConfig]) -> list[AuditConfig]:
    """The setups, once their policy's waivers are known to mean what they say in the plans of all targets."""
    check_waivers([setup.plan for setup in setups], setups[0].day)
    return setups


def with_knowledge(targets: Sequence[str], knowledge: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Every target with what `--knowledge` holds for it; None for a target that is not named, or has nothing but a pack."""
    if len(targets) < 2 and len(knowledge) < 2:
        return [(next(iter(targets), None), next(iter(knowledge), None))]
    for one, other in combinations(targets, 2):
        if fold(one) == fold(other):
            raise _twice(_spelt(one, None), _spelt(other, None), "names differ in more than capitals and spaces")
    asked = [reference for reference in knowledge if names_language_model(reference)]
    if len(asked) > 1:
        raise UsageError(
            f"--knowledge names {len(asked)} language models: {', '.join(asked)}",
            "one is asked about every target that has no dossier",
            "name one of them",
        )
    dossiers = [(reference, open_knowledge(reference)) for reference in knowledge if reference not in asked]
    _refuse_twice([(_spelt(None, reference), dossier) for reference, dossier in dossiers])
    if targets:
        held = _matched(targets, dossiers)
        return [(target, held.get(target, next(iter(asked), None))) for target in targets]
    if asked:
        raise UsageError(
            f"--knowledge={asked[0]} has no target to be asked about",
            "without --target the targets of the dossiers are audited",
            'add --target="…" for every target, or leave the language model out',
        )
    return [(None, reference) for reference, _ in dossiers]


def _matched(targets: Sequence[str], dossiers: Sequence[tuple[str, Dossier]]) -> dict[str, str]:
    """Which dossier is about which target, by the dossier's own name of it and its aliases."""
    held = {}
    for reference, dossier in dossiers:
        meant = [target for target in targets if fold(target) in names_of(dossier)]
        if not meant:
            raise UsageError(
                f"--knowledge={reference} is about {dossier.target.name!r}, which is none of the targets",
                f"these are to be audited: {', '.join(targets)}",
                f"add --target={dossier.target.name!r}, or leave the dossier out",
            )
        if len(meant) > 1:
            raise _twice(_spelt(meant[0], None), _spelt(meant[1], None), f"{reference} calls {dossier.target.name!r} both")
        held[meant[0]] = reference
    return held


def _refuse_twice(named: Sequence[tuple[str, Dossier]]) -> None:
    for (one, first), (other, second) in combinations(named, 2):
        if shared := names_of(first) & names_of(second):
            raise _twice(one, other, f"both are called {min(shared)!r}")


def _twice(one: str, other: str, why: str) -> UsageError:
    return UsageError(f"the same target is given twice: {one} and {other}", why, "leave one of them out")


def _spelt(target: str | None, reference: str | None) -> str:
    return f"--target={target!r}" if target is not None else f"--knowledge={reference}"


def _prefixes(names: Sequence[str]) -> list[str]:
    """A slug for each name. None is the end of another, so that a node id that holds one holds no other by accident."""
    slugs = [slug(name) for name in names]
    return [
        f"{own}-{digest(names[place])[:8]}"
        if any(other.endswith(own) for position, other in enumerate(slugs) if position != place)
        else own
        for place, own in enumerate(slugs)
    ]
