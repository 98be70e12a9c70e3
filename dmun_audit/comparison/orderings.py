"""Pools the orderings of several runs: which source of similarity predicts damage best?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from dmun_audit.claim_groups.similarity_sources import DAMAGE, SimilaritySource, measured, source_labels, sources_of
from dmun_audit.claim_groups.source_differences import adjusted, source_difference
from dmun_audit.comparison.comparison import Comparison, PooledOrdering
from dmun_audit.comparison.runs import CountedRun, LeftOut, counted_runs, run_folders
from dmun_audit.verdict.concepts_needed import concepts_needed
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.ordering import FEWEST_CONCEPTS
from dmun_audit.verdict.pooled_ordering import RankedConcepts, pooled_spearman, ranked_concepts
from dmun_audit.verdict.rank_differences import pooled_difference

SourceOfRuns = tuple[str, str]
"""Kind and model of a source: the same in every run, whatever each run's report calls it."""


@dataclass(frozen=True)
class _Pool:
    """One source with one damage: the ranked concepts of each run in which it has a rho, by the run's place."""

    source: SourceOfRuns
    label: str
    runs: Mapping[int, RankedConcepts]


def compare(folders: Sequence[Path]) -> Comparison:
    """Compare the runs in these folders. A folder that holds run folders stands for all of them.

    Raises UsageError if one is no run folder, if one is named twice, or if none of them counts.
    """
    return compared(*counted_runs(run_folders(folders)))


def compared(runs: Sequence[CountedRun], left_out: Sequence[LeftOut]) -> Comparison:
    """The comparison of runs that were read and checked."""
    every_damage = [damage for damage in DAMAGE if any(_has(run, damage) for run in runs)]
    damages = [damage for damage in every_damage if all(_has(run, damage) for run in runs)]
    names = _names(runs)
    rows: list[PooledOrdering] = []
    differences = []
    for damage in damages:
        pools = [_pool(runs, source, names[source], damage) for source in names]
        everywhere = {place for pool in pools for place in pool.runs}
        ranked = [pool for pool in pools if set(pool.runs) == everywhere]
        of_damage = [_row(pool, damage, pool in ranked) for pool in pools]
        rows += sorted(of_damage, key=lambda row: (not row.ranked, -(-2.0 if row.rho is None else row.rho)))
        for one, other in combinations(ranked, 2):
            first, second = ([pool.runs[place] for place in sorted(everywhere)] for pool in (one, other))
            found = source_difference(damage, (one.label, other.label), pooled_difference(first, second))
            differences.append(found and found.model_copy(update={"n": len(_concepts(first) & _concepts(second))}))
    return Comparison(
        tuple(runs),
        tuple(left_out),
        tuple(damages),
        tuple(_with_holm(rows)),
        tuple(adjusted(differences)),
        tuple(_remarks(runs, names, sorted(set(every_damage) - set(damages)))),
    )


def _has(run: CountedRun, damage: str) -> bool:
    return any(DAMAGE[damage](record) is not None for record in run.concepts)


def _names(runs: Iterable[CountedRun]) -> dict[SourceOfRuns, str]:
    """Every source with its name, in the order in which the runs list them; those of CLIP last."""
    found = list(dict.fromkeys(_key(source) for run in runs for source in sources_of(run.dossier)))
    found.sort(key=lambda key: key[0].startswith("CLIP"))
    named = source_labels(key for key in found if key[1])
    return {key: named.get(key, key[0]) for key in found}


def _key(source: SimilaritySource) -> SourceOfRuns:
    return source.kind, source.model


def _pool(runs: Sequence[CountedRun], source: SourceOfRuns, label: str, damage: str) -> _Pool:
    found: dict[int, RankedConcepts] = {}
    for place, run in enumerate(runs):
        similarity = next((each.similarity for each in sources_of(run.dossier) if _key(each) == source), None)
        values = list(measured(run.concepts, similarity, DAMAGE[damage])) if similarity else []
        names, sides = [name for name, *_ in values], [(value, damaged) for _, value, damaged in values]
        ranked = ranked_concepts(run.target, names, [value for value, _ in sides], [damaged for _, damaged in sides])
        if ranked.rho is not None:
            found[place] = ranked
    return _Pool(source, label, found)


def _row(pool: _Pool, damage: str, ranked: bool) -> PooledOrdering:
    pooled, concepts = pooled_spearman(list(pool.runs.values())), len(_concepts(pool.runs.values()))
    return PooledOrdering(
        source=pool.label,
        model=pool.source[1],
        damage=damage,
        rho=pooled.rho,
        lower=pooled.lower,
        upper=pooled.upper,
        p_value=pooled.p_one_sided,
        n=concepts,
        descriptive=concepts < FEWEST_CONCEPTS,
        needed=None if pooled.rho is None else concepts_needed(pooled.rho),
        needed_each=None if pooled.rho is None else concepts_needed(pooled.rho, pooled.blocks),
        note="" if pooled.rho is not None else "too few concepts, or all of them alike",
        runs=pooled.audits,
        targets=pooled.blocks,
        measurements=pooled.concepts,
        ranked=ranked and pooled.rho is not None,
        lowest=pooled.lowest,
        highest=pooled.highest,
    )


def _concepts(runs: Iterable[RankedConcepts]) -> set[tuple[str, str]]:
    """Every concept once, as its target and its name."""
    return {(run.block, name) for run in runs for name in run.names}


def _with_holm(rows: Sequence[PooledOrdering]) -> list[PooledOrdering]:
    """The rows with their p-values adjusted over all of them."""
    p_values = iter(holm([row.p_value for row in rows if row.p_value is not None]))
    return [row if row.p_value is None else row.model_copy(update={"p_holm": next(p_values)}) for row in rows]


def _remarks(runs: Sequence[CountedRun], names: Mapping[SourceOfRuns, str], not_in_all: Sequence[str]) -> list[str]:
    remarks = []
    if not_in_all:
        remarks.append(f"Not every run measured {', '.join(not_in_all)}, so that is left out.")
    for key, name in names.items():
        having = sum(key in map(_key, sources_of(run.dossier)) for run in runs)
        if having < len(runs):
            remarks.append(f"Only {having} of {len(runs)} runs have the source {name}, so it is not ranked.")
    for what, values in (
        ("judges", {str(run.run.manifest.judge.get("reference", "")) for run in runs}),
        ("policies", {str(run.run.manifest.policy.get("digest", "")) for run in runs}),
    ):
        if len(values) > 1:
            remarks.append(f"The runs have {len(values)} different {what}: damage is ranked within each run, and so comparable.")
    return remarks
