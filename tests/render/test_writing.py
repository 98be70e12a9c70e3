"""Images are written while the next batch is drawn: nothing is lost, and a lock is held until its images are stored."""

from __future__ import annotations

import time
from threading import Event, Thread

import numpy as np
import pytest
from engines import BATCH, engine_maker, requests

from dmun_audit._util.errors import StoreError
from dmun_audit.plan.case import ImageRequest
from dmun_audit.store.files import held

LONGEST = 20  # seconds that a test waits for another thread


@pytest.fixture
def engine(tmp_path, monkeypatch):
    return engine_maker(tmp_path, monkeypatch)()


def before_each_write(engine, happens):
    """Call `happens(key)` before the engine's store writes."""
    write = engine.store.write

    def wait_and_write(key, pixels, facts):
        happens(key)
        write(key, pixels, facts)

    engine.store.write = wait_and_write


def wait_for(condition):
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_batch_is_drawn_while_the_one_before_is_written_under_its_lock(engine):
    row, locks = requests(2 * BATCH), []
    batches = engine.samplers["base"].batches

    def second_is_drawn(key):
        wait_for(lambda: len(batches) == 2)
        with held(engine._lock(row[:BATCH]), wait=False) as free:
            locks.append(free)

    before_each_write(engine, second_is_drawn)
    engine.ensure(row)
    assert locks[:BATCH] == [False] * BATCH
    assert all(engine.key(request) in engine.store for request in row)
    with held(engine._lock(row[:BATCH]), wait=False) as free:
        assert free


def test_two_batches_at_most_wait_while_one_more_is_drawn(engine):
    row, go_on = requests(6 * BATCH), Event()
    batches = engine.samplers["base"].batches
    before_each_write(engine, lambda key: go_on.wait(LONGEST))
    drawing = Thread(target=engine.ensure, args=(row,))
    drawing.start()
    try:
        wait_for(lambda: len(batches) == 3)
        time.sleep(0.2)
        assert len(batches) == 3
    finally:
        go_on.set()
        drawing.join()
    assert len(batches) == 6


def test_an_image_that_cannot_be_written_ends_the_audit_and_loses_no_other(engine):
    row = requests(3 * BATCH)
    failing = [engine.key(row[1])]

    def full(key):
        if key in failing:
            raise StoreError("cannot write", "the disk is full", "free space")

    before_each_write(engine, full)
    with pytest.raises(StoreError, match="the disk is full"):
        engine.ensure(row)
    drawn = BATCH * len(engine.samplers["base"].batches)
    assert [engine.key(request) in engine.store for request in row[:drawn]] == [place != 1 for place in range(drawn)]
    failing.clear()
    engine.ensure(row)
    assert all(engine.key(request) in engine.store for request in row)


def test_what_was_drawn_before_an_error_of_the_sampler_is_stored_and_every_lock_is_free(engine):
    row = requests(2 * BATCH)
    sampler = engine.samplers["base"]
    draw = sampler.sample
    sampler.sample = lambda prompts, seeds: draw(prompts, seeds) if 0 in seeds else 1 / 0
    with pytest.raises(ZeroDivisionError):
        engine.ensure(row)
    assert [engine.key(request) in engine.store for request in row] == [True] * BATCH + [False] * BATCH
    for batch in (row[:BATCH], row[BATCH:]):
        with held(engine._lock(batch), wait=False) as free:
            assert free


def test_an_image_that_waits_to_be_written_is_not_drawn_for_a_later_batch(engine):
    first, again = requests(BATCH), ImageRequest("base", "prompt 0", 1, 0)
    second = [*requests(BATCH - 1, first=BATCH), again]
    assert engine.key(again) == engine.key(first[0])
    before_each_write(engine, lambda key: wait_for(lambda: len(engine.samplers["base"].batches) == 2))
    engine.ensure([*first, *second])
    pixels = list(engine.samplers["base"].sample([each.prompt for each in first], [each.seed for each in first]))
    assert np.array_equal(engine.images([again])[0], pixels[0])
    assert engine.rendered == 2 * BATCH - 1
