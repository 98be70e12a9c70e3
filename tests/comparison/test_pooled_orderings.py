"""Orderings pooled over runs of known truth: the ranking, what counts, and what the comparison says in text, Markdown and JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
from ordered_concepts import MOST_SIMILAR_FIRST, OTHERWISE_SHUFFLED, SHUFFLED, damaged, many_concepts, plan_of, stated

from dmun_audit.comparison.orderings import compared
from dmun_audit.comparison.runs import CountedRun, LeftOut
from dmun_audit.comparison.text import markdown_lines, model_lines, text_lines
from dmun_audit.evidence.manifest import Manifest, TargetRecord
from dmun_audit.evidence.run import Run
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

COUNT = 20


def a_run(target, candidate, orderings, damage=None, judge="atelier:judge", without=(), **measures):
    """A run whose concepts lost CLIP accuracy in the curator's order with noise, or as `damage` says of each place."""
    noise = np.random.default_rng(len(target) * 101 + len(candidate)).normal(size=COUNT)
    dossier = many_concepts(*orderings, count=COUNT, target=target)
    records = damaged(
        plan_of(dossier), damage or (lambda place: 0.5 * MOST_SIMILAR_FIRST[place] + 0.01 * noise[place]), **measures
    )
    kept = [record.with_(measures={k: v for k, v in record.measures.items() if k not in without}) for record in records]
    manifest = Manifest(
        verdict=AuditVerdict.PASS,
        exit_code=0,
        target=TargetRecord(name=target),
        models={"candidate": {"reference": candidate, "tensors_digest": candidate}},
        judge={"reference": judge},
        policy={"name": "standard", "digest": "x"},
    )
    return CountedRun(Run(Path("runs") / f"{target}-{candidate}".replace(" ", "-"), manifest, tuple(kept)), dossier, tuple(kept))


ORDERINGS = (stated("org/good", MOST_SIMILAR_FIRST, count=COUNT), stated("org/useless", SHUFFLED, count=COUNT))
TARGETS = ("Van Gogh", "Claude Monet", "Rembrandt")


@pytest.fixture(scope="module")
def three():
    return compared([a_run(target, "model", ORDERINGS) for target in TARGETS], [])


def rows_of(comparison, damage="clip_accuracy"):
    return {row.source: row for row in comparison.of_damage(damage)}


def test_a_source_equal_to_damage_with_noise_is_ranked_first_and_told_from_a_useless_one(three):
    rows = three.of_damage("clip_accuracy")
    assert [row.source for row in rows[:3]] == ["curator", "language model good", "language model useless"]
    best, useless = rows[1], rows[2]
    assert best.rho > 0.5 > 0.25 > abs(useless.rho)
    assert best.lower > 0.5
    assert (best.p_value, best.runs, best.targets, best.n) == (pytest.approx(1e-4), 3, 3, 60)
    assert useless.p_value > 0.05
    assert (best.needed <= 12, useless.needed is None or useless.needed > 100) == (True, True)
    pair = next(each for each in three.differences if {each.first, each.second} == {best.source, useless.source})
    assert (pair.first, pair.n, pair.p_holm < 0.001) == (best.source, 60, True)
    assert pair.difference == pytest.approx(best.rho - useless.rho)


def test_the_pooled_rho_is_the_mean_and_its_interval_is_shorter_than_that_of_one_run(three):
    singles = [rows_of(compared([a_run(target, "model", ORDERINGS)], []))["language model good"] for target in TARGETS]
    pooled = rows_of(three)["language model good"]
    assert pooled.rho == pytest.approx(np.mean([row.rho for row in singles]))
    assert (pooled.lowest, pooled.highest) == (min(row.rho for row in singles), max(row.rho for row in singles))
    assert pooled.upper - pooled.lower < np.mean([row.upper - row.lower for row in singles])


def test_a_constant_source_has_no_rho_and_no_rank():
    orderings = (*ORDERINGS, stated("org/constant", [0.5] * 100, count=COUNT))
    comparison = compared([a_run(target, "model", orderings) for target in TARGETS[:2]], [])
    row = rows_of(comparison)["language model constant"]
    assert (row.rho, row.ranked, row.needed, row.runs) == (None, False, None, 0)
    assert not [each for each in comparison.differences if row.source in (each.first, each.second)]
    text = "\n".join(text_lines(comparison))
    assert "–  language model constant  undefined: too few concepts, or all of them alike" in text


def test_sources_that_differ_in_their_model_are_different_sources():
    one = a_run("Van Gogh", "m", [stated("a", MOST_SIMILAR_FIRST, count=COUNT)])
    other = a_run("Rembrandt", "m", [stated("b", MOST_SIMILAR_FIRST, count=COUNT)])
    comparison = compared([one, other], [])
    rows = rows_of(comparison)
    assert {name for name, row in rows.items() if not row.ranked and row.rho is not None} == {
        "language model a",
        "language model b",
    }
    assert rows["language model a"].runs == 1
    assert rows["curator"].ranked
    assert "Only 1 of 2 runs have the source language model a, so it is not ranked." in comparison.remarks


def test_measures_that_not_every_run_has_are_left_out_and_named():
    comparison = compared([a_run("Van Gogh", "m", ORDERINGS, lpips=0.2), a_run("Rembrandt", "m", ORDERINGS)], [])
    assert "lpips" not in comparison.damages
    assert "Not every run measured lpips, so that is left out." in comparison.remarks
    alone = compared([a_run("Van Gogh", "m", ORDERINGS, lpips=0.2)], [])
    assert "lpips" in alone.damages


def test_other_judges_are_told():
    comparison = compared([a_run("Van Gogh", "m", ORDERINGS), a_run("Rembrandt", "m", ORDERINGS, judge="other")], [])
    assert any("2 different judges" in remark for remark in comparison.remarks)


def test_two_models_of_one_target_do_not_count_as_two_targets():
    """The same damage in two models says no more than one model does."""
    once = rows_of(compared([a_run("Van Gogh", "m", ORDERINGS)], []))["language model good"]
    both = [
        a_run("Van Gogh", name, ORDERINGS, lambda place: 0.5 * MOST_SIMILAR_FIRST[place] + 0.2 * (place % 2)) for name in "mn"
    ]
    twice = rows_of(compared(both, []))["language model good"]
    single = rows_of(compared(both[:1], []))["language model good"]
    assert (twice.runs, twice.targets, twice.n, twice.measurements) == (2, 1, COUNT, 2 * COUNT)
    assert twice.upper - twice.lower == pytest.approx(single.upper - single.lower)
    assert twice.p_value == pytest.approx(single.p_value, abs=0.01)
    assert once.runs == 1


def test_a_concept_of_one_target_in_two_models_counts_once_everywhere():
    comparison = compared([a_run("Van Gogh", name, ORDERINGS) for name in "mn"], [])
    assert {each.n for each in (*comparison.sources, *comparison.differences)} == {0, COUNT}
    text = "\n".join(text_lines(comparison))
    assert text.startswith("20 concepts of 1 target, in 2 runs (40 measurements)\n")
    assert "Runs of one target measure the same concepts" in " ".join(text.split())
    assert "| 2 | 20 | about " in "\n".join(markdown_lines(comparison))


def test_few_concepts_stay_few_in_many_models():
    few = [stated("org/good", MOST_SIMILAR_FIRST, count=COUNT)]
    runs = [a_run("Van Gogh", name, few) for name in "mn"]
    halves = [CountedRun(run.run, run.dossier, run.concepts[:12]) for run in runs]
    assert all(row.descriptive for row in compared(halves, []).sources)


def test_more_targets_are_asked_for_only_while_the_concepts_do_not_suffice():
    noise = np.random.default_rng(0).normal(size=COUNT)
    weak = [
        a_run(target, "m", ORDERINGS[:1], lambda place: 0.05 * MOST_SIMILAR_FIRST[place] + 0.05 * noise[place])
        for target in TARGETS
    ]
    comparison = compared(weak, [])
    best = comparison.of_damage("clip_accuracy")[0]
    assert best.needed > 3 * COUNT
    assert f"With 3 targets as now, {best.needed_each} concepts in each would show such a ρ." in " ".join(
        " ".join(text_lines(comparison)).split()
    )


def test_a_source_whose_name_holds_its_model_is_not_explained():
    comparison = compared([a_run("Van Gogh", "m", [stated(name, SHUFFLED, count=COUNT) for name in ("at", "org/in")])], [])
    assert model_lines(comparison) == ["language model in: the full name of the model is org/in"]


def test_a_model_that_damages_nothing_has_no_rho_and_the_other_runs_count():
    unharmed = a_run("Rembrandt", "m", ORDERINGS, lambda place: 0.0)
    row = rows_of(compared([a_run("Van Gogh", "m", ORDERINGS), unharmed], []))["language model good"]
    assert (row.runs, row.n, row.ranked) == (1, COUNT, True)


def test_the_text_says_what_a_reader_asks(three):
    text = "\n".join(text_lines(three))
    words = " ".join(text.split())
    assert text.startswith("60 concepts of 3 targets, in 3 runs\n")
    assert "Damage by CLIP accuracy" in text
    assert "CLIP accuracy: curator and language model good come first (ρ = +0.9" in words
    assert "predicts it better than language model useless." in words
    assert "concepts of one target to show a ρ of +0.9" in words
    assert "and 60 of 3 targets are at hand." in words
    assert "language model good: the full name of the model is org/good" in words
    assert "is about these targets and models, and not about others" in words
    assert max(map(len, text.splitlines())) <= 100


def test_sources_that_cannot_be_told_apart_are_said_to_be_so():
    noisy = [stated(f"org/{name}", values, count=COUNT) for name, values in (("x", SHUFFLED), ("y", OTHERWISE_SHUFFLED))]
    noise = np.random.default_rng(0).normal(size=COUNT)
    comparison = compared([a_run("Van Gogh", "m", noisy, lambda place: 0.1 * noise[place])], [])
    assert all(each.p_holm > 0.05 for each in comparison.differences)
    assert "No source can be told from another with 20 concepts in 1 run." in " ".join(" ".join(text_lines(comparison)).split())


def test_markdown_has_a_table_for_runs_and_one_for_each_damage_and_obeys_no_text_of_a_run():
    hostile = a_run("Van Gogh", "<b>|`x`[a](b)", ORDERINGS)
    comparison = compared([hostile], [LeftOut(Path("runs/bad"), "its files contradict its verdict")])
    text = "\n".join(markdown_lines(comparison))
    assert text.startswith("# 20 concepts of 1 target, in 1 run\n\n| folder | target |")
    assert "- left out: runs/bad: its files contradict its verdict" in text
    assert "<b>" not in text
    assert "\\|\\`x\\`\\[a\\](b)" in text
    assert "## Damage by CLIP accuracy\n\n|  | source | ρ |" in text
    for table in text.split("\n\n"):
        widths = {line.replace("\\|", "").count("|") for line in table.splitlines() if line.startswith("|")}
        assert len(widths) <= 1


def test_json_holds_every_row_and_reads_back(three):
    read = json.loads(json.dumps(three.to_json()))
    assert (read["format"], len(read["runs"]), read["left_out"]) == (1, 3, [])
    assert len(read["sources"]) == len(three.sources)
    assert {"rho", "lower", "upper", "p_value", "p_holm", "runs", "targets", "ranked"} <= read["sources"][0].keys()
    assert read["differences"][0].keys() >= {"damage", "first", "second", "difference", "lower", "upper", "p_holm"}


def test_concepts_that_the_base_does_not_know_do_not_count():
    run = a_run("Van Gogh", "m", ORDERINGS)
    assert all(record.verdict != Verdict.VACUOUS for record in run.concepts)
    assert rows_of(compared([run], []))["curator"].n == COUNT
