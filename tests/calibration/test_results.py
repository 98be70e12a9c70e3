"""The results in the repository, and the tables and the plot that are made of them."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from scipy import stats

from benchmarks.calibration.__main__ import PLOT
from benchmarks.calibration.formatting import exact_interval, share
from benchmarks.calibration.judged_images import FOLDER
from benchmarks.calibration.plot import draw
from benchmarks.calibration.resampling import policy_on_scores
from benchmarks.calibration.tables import readme_table, report
from dmun_audit._util.hashing import digest
from dmun_audit.policy import load_policy


def test_the_results_were_measured_under_the_policy_that_ships(results):
    policy = policy_on_scores(load_policy("standard"))
    # The models of the calibration are drawn in float32. The budget was that of a plan without probes: it decides no claim.
    drawn = replace(policy, sampling=replace(policy.sampling, dtype="float32"), images_at_most=2300)
    assert results["policy"]["digest"] == digest(drawn.as_dict())


def test_tables_and_plot_are_made_of_the_results_beside_them(results):
    text = (FOLDER / "results.md").read_text()
    assert text == report(results)
    assert all(f"| {row['name']} |" in text for row in results["candidates"])
    assert len(readme_table(results).splitlines()) <= 16
    assert PLOT.read_text() == draw(results)


def test_the_plot_is_well_formed_and_needs_no_other_file(results):
    picture = draw(results)
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert not re.search(r"href|url\(|@import", picture)
    assert "prefers-color-scheme: dark" in picture


def test_a_share_has_its_exact_interval_and_is_never_rounded_to_all_or_none():
    assert share(0, 4000) == "0% [0–0.09%]"
    assert share(1, 4000) == "0.03% [<0.01–0.14%]"
    assert share(3999, 4000) == "99.98% [99.86–>99.99%]"
    low, high = exact_interval(3, 60)
    assert stats.binom.sf(2, 60, low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 60, high) == pytest.approx(0.025)
