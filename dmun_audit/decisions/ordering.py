"""Does damage follow similarity? Every source of an ordering against every measure of damage; from records alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.ordering import spearman

Record = dict[str, Any]
DAMAGE: dict[str, Callable[[dict[str, float]], float | None]] = {
    "clip_accuracy": lambda m: m["clip_accuracy_base"] - m["clip_accuracy_candidate"],
    "clip_score": lambda m: m["clip_score_base"] - m["clip_score_candidate"],
    "kid": lambda m: m.get("kid_paired"),
    "cmmd": lambda m: m.get("cmmd_paired"),
    "lpips": lambda m: m.get("lpips"),
}
"""Damage of a concept by each metric; more is worse. None where it was not measured. Ties share their average rank."""


def ordering_record(plan: Plan, found: list[Record], records: dict[str, Record]) -> Record:
    """What the pooled case `ordering` says: rho of every source with every damage that was measured, for known concepts."""
    known = [record for record in found if record["verdict"] != "VACUOUS"]
    measured = [metric for metric, damage in DAMAGE.items() if any(damage(record["measures"]) is not None for record in known)]
    rows = [
        _correlation(plan, source, metric, [(record, value) for record in known if (value := similarity(record)) is not None])
        for source, similarity in _sources(plan).items()
        for metric in measured
    ]
    tested = [row for row in rows if row["p_value"] is not None]
    for row, adjusted in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
    told = [
        f"by {source}: "
        + ", ".join(f"{row['damage']} {row['rho']:+.2f}" for row in rows if row["source"] == source and row["rho"] is not None)
        for source in dict.fromkeys(row["source"] for row in rows if row["rho"] is not None)
    ]
    return {
        "verdict": "PASS",
        "claim": {"kind": "ordering", "hits": None, "trials": len(found), "threshold": None},
        "seen": f"Spearman's rho of similarity with damage over {len(known)} concepts — "
        + ("; ".join(told) or "undefined")
        + ". Descriptive: it decides nothing, and with fewer than 20 concepts it proves nothing.",
        "remedy": "",
        "tables": {"sources": rows},
    }


def _sources(plan: Plan) -> dict[str, Callable[[Record], float | None]]:
    """Everything that orders the concepts by their similarity to the target, and how to read it from a concept's record."""
    stated = {ordering.source: ordering.similarity for ordering in plan.dossier.orderings}
    sources: dict[str, Callable[[Record], float | None]] = {}
    curated = plan.dossier.provenance.backend == "curated"
    if curated or "language model" not in stated:
        sources["curator" if curated else "dossier"] = lambda r: r["concept"]["similarity"]
    for source, similarity in stated.items():
        sources[source] = partial(_stated, similarity)
    sources["CLIP text"] = lambda r: r["measures"].get("similarity_clip_text")
    sources["CLIP image"] = lambda r: r["measures"].get("similarity_clip_image")
    return sources


def _stated(similarity: Mapping[str, float], record: Record) -> float | None:
    return similarity.get(record["concept"]["name"])


def _correlation(plan: Plan, source: str, metric: str, pairs: list[tuple[Record, float]]) -> Record:
    """Spearman's rho of one source's similarity with one damage; positive where nearer concepts are damaged more."""
    measured = [(value, damage) for record, value in pairs if (damage := DAMAGE[metric](record["measures"])) is not None]
    similarity, damages = [value for value, _ in measured], [damage for _, damage in measured]
    result = spearman(similarity, damages, seed=plan.audit_seed % 2**32) if len(measured) > 2 else None
    return {
        "source": source,
        "damage": metric,
        "rho": result and result.rho,
        "lower": result and result.lower,
        "upper": result and result.upper,
        "p_value": result and result.p_one_sided,
        "p_holm": None,
        "n": len(measured),
        "descriptive": result is None or result.descriptive,
        "note": result.note if result else "too few concepts",
    }
