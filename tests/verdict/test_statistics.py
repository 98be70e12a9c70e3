"""The public statistics: complete, documented, and readable in a console."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from dmun_audit import statistics
from dmun_audit.statistics import (
    SequentialClaim,
    accuracy_loss_at_most,
    decide_sequentially,
    harm_only,
    look_schedule,
    mean_difference_at_most,
    rate_at_least,
    rate_at_most,
    upper_bound,
)

FUNCTIONS = [name for name in statistics.__all__ if inspect.isfunction(getattr(statistics, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_says_what_it_takes_and_returns_and_shows_an_example(name):
    documentation = inspect.getdoc(getattr(statistics, name))
    parameters = inspect.signature(getattr(statistics, name)).parameters
    for section in ("Args:", "Returns:", "Example:", ">>> "):
        assert section in documentation
    assert all(f"    {parameter}: " in documentation for parameter in parameters)


@pytest.mark.parametrize("name", sorted(set(statistics.__all__) - set(FUNCTIONS)))
def test_every_public_class_is_documented(name):
    assert inspect.getdoc(getattr(statistics, name))


def test_nothing_else_is_public():
    own = {name for name in vars(statistics) if not name.startswith(("_", "@"))} - {"annotations"}
    assert own == set(statistics.__all__)
    assert statistics.__all__ == sorted(statistics.__all__)


def test_no_torch_is_loaded():
    code = "import sys; import dmun_audit.statistics; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


CLAIM = SequentialClaim("paired", 0.15, 0.15, 0.05, 0.05)


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (rate_at_most(0, 62, ceiling=0.05), "PASS: 0 of 62, at most 4.72% with 95% confidence; ceiling 5%"),
        (
            rate_at_most(60, 192, 0.05, alpha_fail=0.001),
            "FAIL: 60 of 192, at least 21.4% with 99.9% confidence; ceiling 5%",
        ),
        (
            rate_at_most(0, 30, 0.05),
            "INCONCLUSIVE: 0 of 30, at most 9.51% with 95% confidence, at least 0% with 95% confidence; ceiling 5%; "
            "about 338 would be enough",
        ),
        (rate_at_most(0, 0, 0.05), "INCONCLUSIVE: no images; ceiling 5%"),
        (rate_at_least(5, 48, 0.8), "FAIL: 5 of 48, at most 20.7% with 95% confidence; floor 80%"),
        (
            harm_only(rate_at_most(2, 12, 0.1)),
            "NO HARM PROVEN: 2 of 12, at most 43.9% with 95% confidence, at least 3.04% with 95% confidence; ceiling 10%",
        ),
        (
            accuracy_loss_at_most(70, 0, 160, 0.15),
            "FAIL: 70 of 160 pairs lost, 0 won, at least 33.6 points with 95% confidence; margin 15 points",
        ),
        (
            decide_sequentially(CLAIM, [[0, -1] * 40] * 4, look_schedule(80, 1, 2), 80),
            "PASS: 0 of 8 pairs lost, 4 won, at most 5.31 points with 95% confidence; margin 15 points; 8 of at most 320 drawn",
        ),
        (
            mean_difference_at_most([0.06, 0.04] * 80, 0.02),
            "FAIL: mean loss 0.05 over 160 pairs, at least 0.0423 with 95% confidence; margin 0.02",
        ),
    ],
)
def test_a_decision_reads_as_one_sentence(decision, sentence):
    assert str(decision) == sentence
    assert repr(decision) == f"<Decision {sentence}>"


@pytest.mark.parametrize("trials", [20, 62, 192, 5000])
def test_a_bound_is_never_shown_too_small(trials):
    shown = float(str(rate_at_most(0, trials, 0.9)).partition("at most ")[2].partition("%")[0])
    assert 0 <= shown - 100 * upper_bound(0, trials) < 0.1
