"""The ordering: rank correlations of every source of similarity with every measure of damage, from the concepts' records."""

import pytest
from case_records import measured, records_of

from dmun_audit.claim_groups.ordering import GROUP, correlations
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.knowledge.dossier import Ordering
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.policy import load_policy
from dmun_audit.verdict.vocabulary import Verdict

PLAN = make_plan(find_pack("Van Gogh", "atelier"), load_policy("standard"), 0)


def _findings(plan, damage=lambda case, place: 0.0, **changes):
    """The findings where each concept has lost `damage` of its CLIP accuracy; `changes` are other fields of its record."""
    records = records_of(plan)
    concepts = [
        measured(records[case.id], clip_accuracy_candidate=0.5 - damage(case, place)).with_(**changes)
        for place, case in enumerate(plan.of_group("retention"))
    ]
    return correlations(plan.of_kind("ordering"), concepts, plan)


def _rows(findings, damage=None):
    return [row for row in findings.more["tables"].sources if damage in (None, row.damage)]


def test_correlations_are_adjusted_over_the_whole_table():
    findings = _findings(PLAN, lambda case, place: 0.4 * case.concept.similarity)
    rows = [row for row in _rows(findings) if row.p_value is not None]
    assert rows
    best = min(rows, key=lambda row: row.p_value)
    assert best.p_holm == pytest.approx(min(1.0, best.p_value * len(rows)))
    assert all(row.p_holm >= row.p_value for row in rows)
    assert all(row.p_holm is None for row in _rows(findings) if row.p_value is None)


def test_the_ordering_is_undefined_without_damage_and_follows_it_where_there_is_some():
    assert all(row.rho is None or row.p_value > 0.05 for row in _rows(_findings(PLAN)))
    row = _rows(_findings(PLAN, lambda case, place: 0.4 * case.concept.similarity), "clip_accuracy")[0]
    assert row.rho == pytest.approx(1)
    assert row.descriptive


def test_a_curators_ordering_stands_beside_those_of_language_models():
    names = [concept.name for concept in PLAN.dossier.concepts]
    stated = (
        Ordering(source="language model", model="x", similarity={name: place / 100 for place, name in enumerate(names)}),
        Ordering(source="vision-language model", model="y", similarity=dict.fromkeys(names[:9], 0.5)),
    )
    plan = make_plan(PLAN.dossier.model_copy(update={"orderings": stated}), PLAN.policy, 0)
    findings = _findings(plan, lambda case, place: 0.5 - place / 100)
    rows = {row.source: row for row in _rows(findings, "clip_accuracy")}
    assert list(rows) == ["curator", "language model", "vision-language model", "CLIP text", "CLIP image"]
    assert rows["curator"].rho is not None
    assert rows["vision-language model"].rho is None
    assert rows["vision-language model"].n < rows["curator"].n


def test_it_decides_nothing_and_says_so_with_its_numbers():
    case = PLAN.of_kind("ordering")
    assert not case.gating
    assert GROUP.limits(PLAN.policy) is None
    findings = _findings(PLAN, lambda case, place: 0.4 * case.concept.similarity)
    assert findings.verdict == Verdict.PASS
    assert "by curator: clip_accuracy +1.00" in findings.seen
    assert "it decides nothing" in findings.seen
    assert findings.claim.kind == "ordering"
    assert findings.claim.trials == len(PLAN.nearby)


def test_concepts_that_the_base_model_does_not_know_are_left_out():
    assert all(row.n == 0 and row.rho is None for row in _rows(_findings(PLAN, verdict=Verdict.VACUOUS)))
