"""P-values adjusted wherever one finding among many is named, after the last case and from records alone (Holm 1979)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dmun_audit.evidence import messages
from dmun_audit.verdict import bounds
from dmun_audit.verdict.holm import holm

Record = dict[str, Any]
DISTANCES = ("kid", "cmmd")  # between the image sets of base and candidate, each with a p-value of its own


def with_holm(records: Iterable[Record]) -> list[Record]:
    """The records, with Holm-adjusted p-values wherever one finding among many is named (Holm 1979).

    There are three families: all claims that can come out as FAIL (`claim.holm`), all concepts whose images may differ
    from the base's, by every distance (`measures.kid_p_holm`, `measures.cmmd_p_holm`), and all invalid adversarial prompts
    (`claim.holm`, of `claim.p_imagined`: how likely it is that the judge only imagined as many hits, at the highest rate of
    false positives that its control leaves open).
    """
    listed = _with_chance([dict(record) for record in records])
    _adjust([(r, "p_refuted", "holm") for r in listed if r["gating"] and r["group"] != "controls"], "claim")
    _adjust([(r, "p_imagined", "holm") for r in listed if r["verdict"] == "VACUOUS"], "claim")
    concepts = [r for r in listed if r["group"] == "retention"]
    _adjust([(r, f"{distance}_p_value", f"{distance}_p_holm") for r in concepts for distance in DISTANCES], "measures")
    for record in listed:
        if record["claim"].get("p_imagined") is not None and record["claim"]["hits"]:
            record["seen"] += f" {messages.imagined(record['claim']['holm'])}"
    return listed


def _adjust(family: list[tuple[Record, str, str]], part: str) -> None:
    """Adjust one family, of which every member is a record, the key of its p-value and the key of the adjusted one."""
    tested = [member for member in family if member[0][part].get(member[1]) is not None]
    values = holm([record[part][key] for record, key, _ in tested])
    for (record, _, adjusted), value in zip(tested, values, strict=True):
        record[part] = record[part] | {adjusted: value}


def _with_chance(records: list[Record]) -> list[Record]:
    """The records, those of invalid adversarial prompts with the p-value of their hits against the judge's false positives."""
    controls = (record["claim"] for record in records if record["group"] == "controls")
    highest = next((claim["upper"] for claim in controls if claim["kind"] == "rate_at_most"), None)
    for record in records:
        claim = record["claim"]
        if highest is not None and record["verdict"] == "VACUOUS" and claim["kind"] == "rate_at_most":
            record["claim"] = claim | {"p_imagined": bounds.at_least_probability(claim["hits"], claim["trials"], highest)}
    return records
