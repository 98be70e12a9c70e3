"""Ordering: are concepts damaged more if they are more similar to the target? For every source and every measure of damage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord, Correlation, Tables
from dmun_audit.plan.case import Case, case_id
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.ordering import spearman
from dmun_audit.verdict.vocabulary import Verdict

Similarity = Callable[[CaseRecord], float | None]

DAMAGE: dict[str, Callable[[Mapping[str, float]], float | None]] = {
    "clip_accuracy": lambda m: m["clip_accuracy_base"] - m["clip_accuracy_candidate"],
    "clip_score": lambda m: m["clip_score_base"] - m["clip_score_candidate"],
    "kid": lambda m: m.get("kid_paired"),
    "cmmd": lambda m: m.get("cmmd_paired"),
    "lpips": lambda m: m.get("lpips"),
}
"""The damage of a concept by each metric; higher is worse. None if it was not measured. Ties share their average rank."""


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
    """Spearman's rho of every source with every measured damage, over the concepts that the base model knows."""
    records = [record for record in concepts if record.verdict != Verdict.VACUOUS]
    metrics = [metric for metric, damage in DAMAGE.items() if any(damage(record.measures) is not None for record in records)]
    rows = [
        _correlation(plan, source, metric, [(record, value) for record in records if (value := similarity(record)) is not None])
        for source, similarity in _sources(plan).items()
        for metric in metrics
    ]
    tested = [(place, row.p_value) for place, row in enumerate(rows) if row.p_value is not None]
    for (place, _), adjusted in zip(tested, holm([p_value for _, p_value in tested]), strict=True):
        rows[place] = rows[place].model_copy(update={"p_holm": adjusted})
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
        + ". This is descriptive: it decides nothing, and with fewer than 20 concepts it proves nothing.",
        more={"tables": Tables(sources=tuple(rows))},
    )


def _sources(plan: Plan) -> dict[str, Similarity]:
    """Every source of similarity to the target, with a function that reads the similarity of a concept's record."""
    orderings = {ordering.source: ordering.similarity for ordering in plan.dossier.orderings}
    sources: dict[str, Similarity] = {}
    curated = plan.dossier.provenance.backend == "curated"
    if curated or "language model" not in orderings:
        sources["curator" if curated else "dossier"] = lambda record: record.concept.similarity if record.concept else None
    for source, similarity in orderings.items():
        sources[source] = partial(_similarity_of, similarity)
    sources["CLIP text"] = lambda record: record.measures.get("similarity_clip_text")
    sources["CLIP image"] = lambda record: record.measures.get("similarity_clip_image")
    return sources


def _similarity_of(similarity: Mapping[str, float], record: CaseRecord) -> float | None:
    return similarity.get(record.concept.name) if record.concept else None


def _correlation(plan: Plan, source: str, metric: str, pairs: Sequence[tuple[CaseRecord, float]]) -> Correlation:
    """Spearman's rho of one source's similarity with one damage; positive if more similar concepts are damaged more."""
    measured = [(value, damage) for record, value in pairs if (damage := DAMAGE[metric](record.measures)) is not None]
    similarity, damages = [value for value, _ in measured], [damage for _, damage in measured]
    result = spearman(similarity, damages, seed=plan.audit_seed % 2**32) if len(measured) > 2 else None
    if result is None:
        return Correlation(source=source, damage=metric, n=len(measured), note="too few concepts")
    return Correlation(
        source=source,
        damage=metric,
        rho=result.rho,
        lower=result.lower,
        upper=result.upper,
        p_value=result.p_one_sided,
        n=len(measured),
        descriptive=result.descriptive,
        note=result.note,
    )
