"""Ordering: are concepts damaged more if they are more similar to the target? For every source and every measure of damage."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.similarity_sources import DAMAGE, SimilaritySource, known_concepts, measured, sources_of
from dmun_audit.claim_groups.source_differences import adjusted, source_difference
from dmun_audit.evidence.ordering_messages import DAMAGES, is_proven, told_apart
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord, Correlation, SourceDifference, Tables
from dmun_audit.plan.case import Case, case_id
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.concepts_needed import concepts_needed
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.ordering import spearman
from dmun_audit.verdict.rank_differences import rank_correlation_difference
from dmun_audit.verdict.vocabulary import Verdict


class Ordering(ClaimGroup):
    """One case over all nearby concepts. It is descriptive and decides nothing."""

    name = "ordering"
    order = 40
    fixture = "ordering"
    required = False
    introduction = "Are concepts damaged more if they are more similar to the target? This part is descriptive and does not decide the verdict."

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`."""
        title = "The more similar a concept is to the target, the more it is damaged"
        return [Case(case_id(self.name, "similarity and damage"), self.name, "ordering", title, gating=False)]

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`: from the records of all retention cases."""
        plan = context.plan
        concepts = [context.record(each) for each in plan.of_group("retention")]
        return correlations(case, concepts, plan)


GROUP = Ordering()


def correlations(case: Case, concepts: Sequence[CaseRecord], plan: Plan) -> CaseFindings:
    """Spearman's rho of every source with every measured damage, over the concepts that the base model knows, and all differences."""
    records, sources = known_concepts(concepts), sources_of(plan.dossier)
    metrics = [metric for metric, damage in DAMAGE.items() if any(damage(record) is not None for record in records)]
    rows = [_correlation(plan, source, metric, records) for source in sources for metric in metrics]
    tested = [(place, row.p_value) for place, row in enumerate(rows) if row.p_value is not None]
    for (place, _), p_holm in zip(tested, holm([p_value for _, p_value in tested]), strict=True):
        rows[place] = rows[place].model_copy(update={"p_holm": p_holm})
    differences = adjusted([_difference(pair, metric, records) for metric in metrics for pair in combinations(sources, 2)])
    by_source = [
        f"by {source}: "
        + ", ".join(f"{row.damage} {row.rho:+.2f}" for row in rows if row.source == source and row.rho is not None)
        for source in dict.fromkeys(row.source for row in rows if row.rho is not None)
    ]
    return CaseFindings(
        Verdict.PASS,
        ClaimRecord(kind="ordering", trials=len(concepts)),
        f"{case.title}.",
        f"Spearman's rho between similarity and damage over {len(records)} concepts — "
        + ("; ".join(by_source) or "undefined")
        + f". {_conclusion(differences, len(records))}"
        + "This is descriptive: it decides nothing, and with fewer than 20 concepts it proves nothing.",
        more={"tables": Tables(sources=tuple(rows), differences=tuple(differences))},
    )


def _correlation(plan: Plan, source: SimilaritySource, metric: str, records: Sequence[CaseRecord]) -> Correlation:
    """Spearman's rho of one source's similarity with one damage; positive if more similar concepts are damaged more."""
    values = list(measured(records, source.similarity, DAMAGE[metric]))
    similarity, damages = [value for _, value, _ in values], [damage for *_, damage in values]
    result = spearman(similarity, damages, seed=plan.audit_seed % 2**32) if len(values) > 2 else None
    if result is None:
        return Correlation(source=source.label, model=source.model, damage=metric, n=len(values), note="too few concepts")
    return Correlation(
        source=source.label,
        model=source.model,
        damage=metric,
        rho=result.rho,
        lower=result.lower,
        upper=result.upper,
        p_value=result.p_one_sided,
        n=len(values),
        descriptive=result.descriptive,
        needed=None if result.rho is None else concepts_needed(result.rho),
        note=result.note,
    )


def _difference(
    pair: tuple[SimilaritySource, SimilaritySource], metric: str, records: Sequence[CaseRecord]
) -> SourceDifference | None:
    """How much better one source predicts a damage than another, over the concepts that both order; None if that is undefined."""
    one, other = (
        {name: (value, damage) for name, value, damage in measured(records, source.similarity, DAMAGE[metric])} for source in pair
    )
    common = [name for name in one if name in other]
    sides = [one[name][0] for name in common], [other[name][0] for name in common], [one[name][1] for name in common]
    return source_difference(metric, (pair[0].label, pair[1].label), rank_correlation_difference(*sides))


def _conclusion(differences: Sequence[SourceDifference], concepts: int) -> str:
    """Which sources can be told apart by which damage; empty without a difference."""
    if not any(is_proven(each) for each in differences):
        return f"{told_apart(differences, f'{concepts} concepts')} " if differences else ""
    damages = dict.fromkeys(each.damage for each in differences if is_proven(each))
    return "".join(
        f"By {DAMAGES[damage]}: {told_apart([each for each in differences if each.damage == damage], '')} " for damage in damages
    )
