"""The ordering: rank correlations of every source of similarity with every measure of damage, from the concepts' records."""

import pytest
from case_records import measured, records_of
from ordered_concepts import MOST_SIMILAR_FIRST, OTHERWISE_SHUFFLED, SHUFFLED, damaged, many_concepts, plan_of, stated

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
    assert list(rows) == ["curator", "language model", "vision-language model y", "CLIP text", "CLIP image"]
    assert rows["curator"].rho is not None
    assert rows["vision-language model y"].rho is None
    assert rows["vision-language model y"].n < rows["curator"].n


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


# Several models of one source, and the differences between sources.


def _plan_with(*orderings, knowledge=PLAN.dossier):
    return make_plan(knowledge.model_copy(update={"orderings": orderings}), PLAN.policy, 0)


def _stated(model, similarity, source="language model"):
    names = [concept.name for concept in PLAN.dossier.concepts]
    return Ordering(source=source, model=model, similarity={name: similarity(place) for place, name in enumerate(names)})


def test_several_models_of_one_source_have_a_row_each():
    plan = _plan_with(
        _stated("meta/llama", lambda place: place / 100),
        _stated("qwen/qwen", lambda place: (place * 7 % 23) / 23),
        _stated("eyes", lambda place: place / 90, "vision-language model"),
    )
    rows = _rows(_findings(plan, lambda case, place: 0.5 - place / 100), "clip_accuracy")
    assert [(row.source, row.model) for row in rows] == [
        ("curator", ""), ("language model llama", "meta/llama"), ("language model qwen", "qwen/qwen"),
        ("vision-language model eyes", "eyes"), ("CLIP text", ""), ("CLIP image", ""),
    ]  # fmt: skip
    assert rows[1].rho != rows[2].rho


def test_the_ordering_of_the_model_that_made_the_dossier_stands_for_its_similarities():
    own = {concept.name: concept.similarity for concept in PLAN.dossier.concepts}
    made = PLAN.dossier.model_copy(
        update={"provenance": PLAN.dossier.provenance.model_copy(update={"backend": "chat", "model": "a"})}
    )
    orderings = (_stated("b", lambda place: place / 50), Ordering(source="language model", model="a", similarity=own))
    rows = _rows(_findings(_plan_with(*orderings, knowledge=made)), "clip_accuracy")
    assert [row.source for row in rows] == ["language model a", "language model b", "CLIP text", "CLIP image"]
    rows = _rows(_findings(_plan_with(orderings[0], knowledge=made)), "clip_accuracy")
    assert [row.source for row in rows] == ["dossier", "language model", "CLIP text", "CLIP image"]


def _big_findings(*orderings):
    """Forty concepts that are damaged in the curator's order, with a little noise."""
    plan = plan_of(many_concepts(*orderings))
    records = damaged(plan, lambda place: 0.4 * MOST_SIMILAR_FIRST[place] + 0.02 * (place % 3))
    return correlations(plan.of_kind("ordering"), records, plan)


def _differences(findings, damage="clip_accuracy"):
    return [row for row in findings.more["tables"].differences if row.damage == damage]


def test_a_source_that_follows_the_damage_is_told_from_one_that_does_not():
    findings = _big_findings(stated("m", SHUFFLED))
    rows = {row.source: row for row in _rows(findings, "clip_accuracy")}
    (difference,) = _differences(findings)
    assert rows["curator"].rho > 0.9 > abs(rows["language model"].rho) + 0.5
    assert (difference.first, difference.second, difference.n) == ("curator", "language model", 40)
    assert difference.difference == pytest.approx(rows["curator"].rho - rows["language model"].rho)
    assert 0 < difference.lower < difference.difference < difference.upper
    assert difference.p_value <= difference.p_holm <= 0.05
    assert "By CLIP accuracy: Curator predicts it better than language model. " in findings.seen
    assert rows["curator"].needed < 10
    assert difference.needed < 40


def test_few_concepts_tell_no_source_from_another_and_it_says_so():
    plan = _plan_with(_stated("m", lambda place: (place * 7 % 23) / 23))
    findings = _findings(plan, lambda case, place: 0.3 * case.concept.similarity + 0.1 * (place % 2))
    assert _differences(findings)
    assert all(row.p_holm > 0.05 for row in _differences(findings))
    assert f"No source can be told from another with {len(plan.nearby)} concepts." in findings.seen


def test_p_values_of_differences_are_adjusted_over_all_pairs_and_damages():
    assert not _differences(_big_findings(stated("m", [0.5] * 40)))  # an ordering that is the same for all concepts has no rho
    findings = _big_findings(stated("a", SHUFFLED), stated("b", OTHERWISE_SHUFFLED))
    rows = findings.more["tables"].differences
    assert {(row.first, row.second) for row in rows} >= {("curator", "language model a"), ("curator", "language model b")}
    assert len(rows) == 3 * len({row.damage for row in rows})
    best = min(rows, key=lambda row: row.p_value)
    assert best.p_holm == pytest.approx(min(1.0, best.p_value * len(rows)))


def test_a_rho_of_about_zero_has_no_number_of_concepts():
    row = next(row for row in _rows(_big_findings(stated("m", SHUFFLED)), "clip_accuracy") if row.source == "language model")
    assert abs(row.rho) < 0.1
    assert row.needed is None
