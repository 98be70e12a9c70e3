"""Metrics of --metric in a table of methods: which columns they make, their intervals, and networks that share a name."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas
import pytest
from example_runs import WrittenRun, claim, record
from scipy.stats import t

from dmun_audit.comparison.method_tables import written
from dmun_audit.comparison.methods import methods_table
from dmun_audit.comparison.metric_figures import metric_figures
from dmun_audit.comparison.table_words import METRICS_PART, sections
from dmun_audit.evidence.run import read_run
from dmun_audit.measures.metric_kind import paired_values

MEASURES = {
    "fid": 0.25, "kid": 0.1, "kid_paired": 0.1, "kid_p_value": 0.5,
    "fd_dinov2": 1.4, "fd_dinov2.images": 24.0, "fd_dinov2.features": 32.0, "fd_dinov2.real_base": 3.0, "fd_dinov2.real_candidate": 4.0,
    "fd_dinov2.real_images": 50.0,
    "pickscore.base": 20.0, "pickscore.candidate": 21.0, "pickscore.difference": 1.0, "pickscore.standard_error": 0.25,
    "pickscore.images": 24.0, "pickscore.prompts": 8.0,
    "labels_age.base.old": 0.5, "labels_age.candidate.old": 0.25, "labels_age.total_variation": 0.25, "labels_age.images": 24.0,
}  # fmt: skip


def a_run(folder, name, measures, digests=None):
    """A run whose plain prompts have these measures; `digests` are those of its metrics by name."""
    run = WrittenRun(folder / name)
    run.manifest["models"]["candidate"] |= {"reference": name, "weights_digest": name}
    run.manifest["metrics"] = [
        {"name": each, "reference": f"k:{each}", "digest": digest} for each, digest in (digests or {}).items()
    ]
    run.add(record("erasure", "all", "PASS", pooled=True, claim=claim("rate_at_most", 0, 20, 0.0, 0.1, 0.2)))
    run.add(
        record("unrelated", "a boat", "PASS", measures={"collapsed_base": 0.0}, claim=claim("paired_accuracy", 0, 1, -1, 1, 0.2))
    )
    if measures:
        run.add(
            record(
                "unrelated", "plain prompts", "PASS", measures=measures, claim=claim("observation", None, 24, None, None, None)
            )
        )
    return read_run(run.close())


@pytest.fixture
def table(tmp_path):
    return methods_table(
        [a_run(tmp_path, "measured", MEASURES, {"pickscore": "p", "fd_dinov2": "d"}), a_run(tmp_path, "not", {})]
    )


def test_each_metric_has_a_column_in_the_order_of_the_manifest_and_others_follow(table):
    assert dict(sections(table))[METRICS_PART] == [
        "metric: PickScore",
        "metric: PickScore, change",
        "metric: FD-DINOv2",
        "metric: FD-DINOv2 from real images",
        "metric: Labels of age, change of labels",
    ]
    values = {name.partition(": ")[2]: figure for name, figure in table.rows[0].figures.items()}
    assert [values[name].value for name in ("PickScore", "FD-DINOv2", "FD-DINOv2 from real images")] == [21.0, 1.4, 4.0]
    assert values["FD-DINOv2"].pairs == 24
    assert values["Labels of age, change of labels"].value == 0.25


def test_a_change_has_the_interval_of_its_standard_error_and_no_other_value_has_one(table):
    change = table.rows[0].figures["metric: PickScore, change"]
    reach = 0.25 * t.ppf(0.975, 7)
    assert (change.lower, change.value, change.upper) == pytest.approx((1 - reach, 1.0, 1 + reach))
    others = [figure for name, figure in table.rows[0].figures.items() if name.startswith("metric") and "change" not in name]
    assert {(figure.lower, figure.upper) for figure in others} == {(None, None)}


def test_a_change_over_one_pair_has_no_interval(tmp_path):
    alone = {"fid": 0.0, "hps.candidate": 1.0, "hps.difference": 0.5, "hps.images": 1.0, "hps.prompts": 1.0}
    figures = methods_table([a_run(tmp_path, "one", alone), a_run(tmp_path, "two", alone)]).rows[0].figures
    assert (figures["metric: HPS, change"].value, figures["metric: HPS, change"].lower) == (0.5, None)


CHANGE = {"fid": 0.0, "hps.difference": 0.5, "hps.standard_error": 0.1, "hps.images": 24.0, "hps.prompts": 8.0}


def change_of(folder, **parts):
    """The figure of the change of a metric whose values have these parts; a part that is None is left out."""
    measures = {
        name: value
        for name, value in (CHANGE | {f"hps.{part}": value for part, value in parts.items()}).items()
        if value is not None
    }
    run = a_run(folder, "edited", {})
    case = record("unrelated", "plain prompts", "PASS", measures=measures, claim=claim("observation", None, 24, None, None, None))
    return metric_figures(replace(run, cases=(*run.cases, case)))["metric: HPS, change"]


def test_an_earlier_run_without_the_number_of_prompts_has_no_interval(tmp_path):
    assert change_of(tmp_path / "new").lower is not None
    figure = change_of(tmp_path / "old", prompts=None)
    assert (figure.value, figure.lower, figure.upper, figure.pairs) == (0.5, None, None, 24)


@pytest.mark.parametrize(
    "parts",
    [
        {"images": 1e300},
        {"images": -24.0},
        {"images": 24.5},
        {"prompts": 1e300},
        {"prompts": -8.0},
        {"prompts": 25.0},
        {"standard_error": -0.1},
        {"standard_error": 1e308},
    ],
)
def test_numbers_that_can_be_no_count_or_error_give_no_interval(tmp_path, parts):
    figure = change_of(tmp_path, **parts)
    assert (figure.value, figure.lower, figure.upper) == (0.5, None, None)
    assert figure.pairs == (None if "images" in parts else 24)


@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_the_interval_of_a_change_covers_the_truth_however_alike_pairs_of_one_prompt_are(tmp_path, alike):
    """1000 seeded audits of 10 prompts with 3 to 8 pairs each. `alike` is the correlation of two pairs of one prompt."""
    generator, covered, audits = np.random.default_rng(4), 0, 1000
    run = a_run(tmp_path, "one", {})
    for _ in range(audits):
        prompts = np.repeat(np.arange(10), generator.integers(3, 9, size=10))
        differences = alike**0.5 * generator.normal(size=10)[prompts] + (1 - alike) ** 0.5 * generator.normal(size=len(prompts))
        values = {"fid": 0.0} | paired_values("hps", np.zeros(len(prompts)), differences, [f"prompt {each}" for each in prompts])
        case = record(
            "unrelated", "plain prompts", "PASS", measures=values, claim=claim("observation", None, 24, None, None, None)
        )
        figure = metric_figures(replace(run, cases=(case,)))["metric: HPS, change"]
        covered += figure.lower <= 0 <= figure.upper
    assert 0.92 <= covered / audits <= 0.98


def test_the_distance_on_the_judge_s_embeddings_has_its_column_and_says_on_how_many_pairs_it_rests(table):
    figure = table.rows[0].figures["FID"]
    assert (figure.value, figure.pairs) == (0.25, 24)


def test_a_run_that_did_not_measure_shows_dashes_in_every_form(table):
    lines = [line for line in written(table, "markdown").splitlines() if line.startswith("| not |")]
    heads = written(table, "markdown").split(METRICS_PART)[1]
    assert "| not | – | – | – | – | – |" in lines
    assert "1.4 (24 pairs)" in heads
    assert "PickScore, change" in heads
    text = written(table, "text")
    assert "PickScore" in text
    assert "They decide nothing." in text
    assert METRICS_PART in written(table, "html")
    frame = pandas.read_csv(io.StringIO(written(table, "csv")), index_col="method")
    assert frame.loc["measured", "metric: FD-DINOv2 pairs"] == 24
    assert frame.loc["not"].filter(like="metric").isna().all()


def test_two_networks_of_one_name_have_a_column_each(tmp_path):
    runs = [
        a_run(tmp_path, name, {"fid": 0.0, "fd_dinov2": 1.0}, {"fd_dinov2": digest * 8})
        for name, digest in (("one", "a1"), ("two", "b2"))
    ]
    table = methods_table(runs)
    first, second = "metric: FD-DINOv2 (a1a1a1a1)", "metric: FD-DINOv2 (b2b2b2b2)"
    assert [name for name in table.columns if name.startswith("metric")] == [first, second]
    assert [row.figures[first].value for row in table.rows] == [1.0, None]
    assert [row.figures[second].value for row in table.rows] == [None, 1.0]


def test_different_numbers_of_pairs_are_told(tmp_path):
    runs = [a_run(tmp_path, str(pairs), {"fid": 0.0, "fd_dinov2": 1.0, "fd_dinov2.images": float(pairs)}) for pairs in (24, 72)]
    assert "rest on 24 to 72 pairs" in " ".join(written(methods_table(runs), "text").split())
    alike = [a_run(tmp_path, name, {"fid": 0.0, "fd_dinov2": 1.0, "fd_dinov2.images": 24.0}) for name in "ab"]
    assert "24 to" not in written(methods_table(alike), "markdown")


def test_metrics_of_a_policy_without_plain_prompts_are_told_to_have_no_column(tmp_path):
    runs = [a_run(tmp_path, name, {}, {"hps": "h"}) for name in "ab"]
    assert any("no plain prompts" in each for each in methods_table(runs).remarks)
    assert not any("no plain prompts" in each for each in methods_table([a_run(tmp_path, name, {}) for name in "cd"]).remarks)
