"""How long one image of each model takes: measured where it is drawn, summed in the manifest, shown on the page and in tables."""

import time

import pytest
from engines import BATCH, BatchDependentSampler, engine_maker, requests

from dmun_audit.evidence.schema import CaseRecord, Volatile
from dmun_audit.render import engine as rendering
from dmun_audit.render.counts import Counts, DrawingTime
from dmun_audit.runtime.manifest import seconds_each

PAUSE = 0.05


class SlowSampler(BatchDependentSampler):
    """Takes `PAUSE` seconds for a batch."""

    def sample(self, prompts, seeds):
        time.sleep(PAUSE)
        yield from super().sample(prompts, seeds)


def test_an_engine_measures_each_model_by_itself_and_nothing_that_is_stored(tmp_path, monkeypatch):
    maker = engine_maker(tmp_path, monkeypatch)
    monkeypatch.setattr(rendering, "open_sampler", lambda *arguments, **settings: SlowSampler())
    engine = maker()
    engine.ensure_rows([(requests(2 * BATCH), requests(2 * BATCH)), (requests(BATCH, "candidate"), requests(BATCH, "candidate"))])
    times = engine.counts.times
    assert {side: time.images for side, time in times.items()} == {"base": 2 * BATCH, "candidate": BATCH}
    assert times["base"].seconds >= 2 * PAUSE
    assert times["candidate"].seconds >= PAUSE
    before = engine.counts
    engine.ensure_rows([(requests(2 * BATCH), requests(2 * BATCH))])
    assert engine.counts.since(before) == Counts()


def test_what_was_drawn_since_is_told_by_model():
    before = Counts(4, 1, {"base": DrawingTime(4, 1.0)})
    after = Counts(10, 1, {"base": DrawingTime(4, 1.0), "candidate": DrawingTime(6, 3.0)})
    assert after.since(before) == Counts(6, 0, {"candidate": DrawingTime(6, 3.0)})


def test_the_manifest_holds_seconds_for_an_image_over_all_cases():
    def record(**drawing):
        return CaseRecord(case_id="x", verdict="PASS", volatile=Volatile(drawing=drawing))

    assert seconds_each([record(base=(4, 2.0)), record(base=(4, 4.0), candidate=(2, 3.0)), record()]) == {
        "base": pytest.approx(0.75),
        "candidate": pytest.approx(1.5),
    }
    assert seconds_each([record()]) == {}
