"""The engine: batches are rendered as a whole, and a lost image is rendered again with the batch that it came from."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import torch
from engines import BATCH, engine_maker, requests

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.store.files import held


@pytest.fixture
def new_engine(tmp_path, monkeypatch):
    """Makes engines on one store: each stands for a process."""
    return engine_maker(tmp_path, monkeypatch)


def contents(engine, row):
    return [engine.store.path(engine.key(request)).read_bytes() for request in row]


def lose(engine, request):
    engine.store.path(engine.key(request)).unlink()


def damage(engine, request):
    path = engine.store.path(engine.key(request))
    path.write_bytes(path.read_bytes()[:150])


def test_a_device_without_memory_is_one_error(new_engine, monkeypatch):
    engine = new_engine()

    def sample(prompts, seeds):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(engine.samplers["base"], "sample", sample)
    with pytest.raises(UsageError, match="out of memory while 4 images were drawn") as told:
        engine.ensure(requests(4))
    assert "lower sampling.batch" in told.value.remedy


@pytest.mark.parametrize("happens", [lose, damage])
@pytest.mark.parametrize("lost", [[5], [1, 6], [9], [4, 5, 6, 7]])
def test_a_lost_image_comes_back_bit_for_bit(new_engine, happens, lost):
    engine, row = new_engine(), requests(10)
    engine.ensure(row)
    before, images = contents(engine, row), engine.images(row)
    for place in lost:
        happens(engine, row[place])
    rendered = len(engine.samplers["base"].batches)
    asked = [row[place] for place in lost]
    again = engine.images(asked)
    assert all(np.array_equal(image, images[place]) for image, place in zip(again, lost, strict=True))
    assert contents(engine, row) == before
    assert len(engine.samplers["base"].batches) - rendered == len({place // BATCH for place in lost})


def test_an_image_that_another_process_rendered_comes_back_bit_for_bit(new_engine):
    row = requests(10)
    first, second = new_engine(), new_engine()
    first.ensure(row)
    second.ensure(row, row[4:6])
    assert second.rendered == 0
    before = contents(first, row)
    lose(first, row[6])  # of a batch that the second process asked for two other images of
    second.images([row[6]])
    assert second.rendered == 1
    assert contents(first, row) == before


def test_an_image_of_two_rows_comes_back_from_the_first(new_engine):
    engine, row = new_engine(), requests(8)
    engine.ensure(row, row[:2])
    engine.ensure(row[2:], row[2:])
    before = contents(engine, row)
    for request in row:
        lose(engine, request)
    engine.images(row)
    assert contents(engine, row) == before


def test_both_sides_of_a_batch_come_back(new_engine):
    engine, row = new_engine(), [*requests(2), *requests(2, "candidate")]
    engine.ensure(row)
    before = contents(engine, row)
    lose(engine, row[1])
    lose(engine, row[2])
    assert [len(image) for image in engine.images(row)] == [8] * 4
    assert contents(engine, row) == before


def test_an_image_that_nobody_ensured_has_no_batch(new_engine):
    with pytest.raises(ValueError, match="never ensured"):
        new_engine().images(requests(1))


def test_a_store_that_keeps_nothing_is_one_clear_error(new_engine, monkeypatch):
    engine, row = new_engine(), requests(2)
    engine.ensure(row)
    lose(engine, row[0])
    monkeypatch.setattr(engine.store, "write", lambda *arguments: None)
    with pytest.raises(StoreError, match="images vanish"):
        engine.images(row)


def test_a_batch_is_rendered_as_a_whole_and_once(new_engine):
    engine, row = new_engine(), requests(10)
    engine.ensure(row, [row[5]])
    assert [[seed for _, seed in batch] for batch in engine.samplers["base"].batches] == [[4, 5, 6, 7]]
    engine.ensure(row, row[4:8])
    assert engine.rendered == 4


def test_only_faster_networks_change_keys_and_only_those_of_images_that_they_draw(tmp_path, monkeypatch):
    one, _ = requests(2)
    keys = {level: engine_maker(tmp_path, monkeypatch, acceleration=level)().key(one) for level in ("auto", "none", "layout")}
    assert keys["auto"] == keys["none"] != keys["layout"]


def test_every_batch_is_logged(new_engine, caplog):
    with caplog.at_level(logging.INFO, "dmun_audit.render.engine"):
        new_engine().ensure([*requests(3), *requests(1, "candidate")])
    first, second = (record.message for record in caplog.records)
    assert first.startswith("rendered 3 images of the base in ")
    assert second.startswith("rendered 1 images of the candidate in ")


def test_while_another_process_renders_one_row_this_one_renders_the_next(new_engine):
    engine, rows = new_engine(), [requests(BATCH), requests(BATCH, first=20)]
    released = threading.Event()
    engine.on_rendered = lambda count: released.set()
    with held(engine._lock(rows[0])) as acquired:
        assert acquired  # as the other process does
        working = threading.Thread(target=engine.ensure_rows, args=([(row, row) for row in rows],))
        working.start()
        assert released.wait(20)
    working.join(20)
    drawn = [[seed for _, seed in batch] for batch in engine.samplers["base"].batches]
    assert drawn == [[request.seed for request in row] for row in reversed(rows)]


def test_while_another_process_renders_what_is_wanted_this_one_renders_what_is_wanted_later(new_engine):
    engine, row = new_engine(), requests(3 * BATCH)
    first, second = row[:BATCH], row[BATCH : 2 * BATCH]
    released = threading.Event()
    engine.on_rendered = lambda count: released.set()
    with held(engine._lock(first)):
        working = threading.Thread(target=engine.ensure_rows, args=([(row, first)], [(row, second)]))
        working.start()
        assert released.wait(20)
    working.join(20)
    drawn = [batch[0][1] for batch in engine.samplers["base"].batches]
    assert drawn == [second[0].seed, first[0].seed]


def test_a_process_that_does_not_wait_renders_only_what_is_wanted(new_engine):
    engine, row = new_engine(), requests(3 * BATCH)
    engine.ensure_rows([(row, row[:1])], [(row, row)])
    assert engine.rendered == BATCH
