"""The chart of the looks of an early claim follows from the outcomes of the single cases."""

import pytest
from example_runs import WrittenRun, claim, record

from dmun_audit.evidence.run import read_run
from dmun_audit.report.html import render_html
from dmun_audit.report.html.looks import LEFT, RIGHT, looks_of

OUTCOMES = ([1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0])


def run_of(folder: WrittenRun, looks=(3, 6, 12), hits=2, outcomes=OUTCOMES, **more):
    for place, each in enumerate(outcomes):
        folder.add(
            record(
                "erasure", f"prompt {place}", "PASS", claim=claim("rate_at_most", sum(each), len(each), 0, 1, 0.3, outcomes=each)
            )
        )
    folder.add(record("erasure", "void", "VACUOUS", claim=claim("rate_at_most", 4, 4, 0, 1, 0.3, outcomes=[1, 1, 1, 1])))
    pooled = claim("rate_at_most", hits, looks[-1], 0.01, 0.28, 0.3, looks=looks, planned=40, stopping="early", **more)
    folder.add(record("erasure", "all", "PASS", pooled=True, claim=pooled))
    run = read_run(folder.close())
    return run, run.of_group("erasure")[-1]


def test_each_look_has_the_rate_of_the_rounds_drawn_by_then(folder):
    run, pooled = run_of(folder)
    drawing = looks_of(run, pooled)
    assert drawing.description == "The rate at each look: 33.3% after 3, 16.7% after 6, 16.7% after 12. The limit is 30%."
    assert (drawing.points[0][0], drawing.points[-1][0]) == (LEFT + (RIGHT - LEFT) / 4, RIGHT)
    assert drawing.points[0][1] < drawing.limit < drawing.points[1][1]  # above the limit, then below; y points down
    assert drawing.high < drawing.points[-1][1] < drawing.low
    assert '<svg class="looks"' in render_html(run)


@pytest.mark.parametrize(
    "changes",
    [
        {"looks": (12,)},  # one look
        {"looks": (4, 12)},  # no whole round
        {"looks": (3, 15)},  # more than was drawn
        {"hits": 5},  # not what the single cases give
        {"outcomes": ()},
    ],
)
def test_what_does_not_follow_from_single_cases_is_not_drawn(folder, changes):
    assert looks_of(*run_of(folder, **changes)) is None
