"""Stored images are rendered again in whole batches, and compared: what an earlier audit left must be this model's."""

from __future__ import annotations

import os

import numpy as np
import pytest
from engines import BATCH, engine_maker, requests

from dmun_audit._util.errors import StoreError
from dmun_audit.render import engine as rendering
from dmun_audit.render.rechecks import Rechecks
from dmun_audit.store import environment

LONG_AGO = (1_000_000_000, 1_000_000_000)


@pytest.fixture
def new_engine(tmp_path, monkeypatch):
    return engine_maker(tmp_path, monkeypatch, recheck_images=BATCH)


def left_by_an_earlier_audit(engine, row):
    """Render `row`, and date the files back."""
    engine.ensure(row)
    for request in row:
        os.utime(engine.store.path(engine.key(request)), LONG_AGO)
    return row


def exchange(engine, request, alter):
    """Store other pixels under the image's key, as another model would have done: the file is whole, and its digest is right."""
    stored = engine.store.stored(engine.key(request))
    engine.store.write(engine.key(request), alter(stored.pixels), {k: v for k, v in stored.facts.items() if k != "sha256"})
    os.utime(engine.store.path(engine.key(request)), LONG_AGO)


def one_more(pixels):
    changed = pixels.copy()
    changed[0, 0, 0] ^= 1
    return changed


def test_what_an_earlier_audit_left_is_rendered_again_and_counted(new_engine):
    row = left_by_an_earlier_audit(new_engine(), [*requests(2 * BATCH), *requests(BATCH, "candidate")])
    later = new_engine()
    later.ensure(row)
    later.ensure(row)
    rendered, rechecked = later.counts.rendered, later.counts.rechecked
    assert rendered == 0
    assert rechecked in (2 * BATCH, 3 * BATCH)  # the first batch of each model, and the base's second one by chance


def test_without_the_key_nothing_is_rendered_again(tmp_path, monkeypatch):
    new_engine = engine_maker(tmp_path, monkeypatch)
    row = left_by_an_earlier_audit(new_engine(), requests(BATCH))
    later = new_engine()
    later.ensure(row)
    assert (later.counts.rendered, later.counts.rechecked) == (0, 0)


def test_images_of_this_session_are_not_rendered_again(new_engine):
    one, other = new_engine(), new_engine()
    one.ensure(requests(BATCH))
    other.ensure(requests(BATCH))
    assert (other.counts.rendered, other.counts.rechecked) == (0, 0)


@pytest.mark.parametrize("place", range(BATCH))
def test_one_other_bit_in_a_stored_image_ends_the_audit_and_names_it(new_engine, place):
    first = new_engine()
    row = left_by_an_earlier_audit(first, requests(BATCH))
    exchange(first, row[place], one_more)
    later = new_engine()
    with pytest.raises(StoreError) as caught:
        later.ensure(row)
    message = str(caught.value)
    assert str(first.store.path(first.key(row[place]))) in message
    assert repr(row[place].prompt) in message
    assert "not this model's" in message
    assert "--store" in message


def test_what_is_left_of_a_batch_is_compared_when_the_rest_is_rendered(new_engine):
    first = new_engine()
    row = left_by_an_earlier_audit(first, requests(BATCH))
    first.store.path(first.key(row[1])).unlink()
    later = new_engine()
    later.ensure(row)
    assert (later.counts.rendered, later.counts.rechecked) == (1, BATCH - 1)
    exchange(first, row[2], one_more)
    first.store.path(first.key(row[1])).unlink()
    with pytest.raises(StoreError, match="is not what the base draws"):
        new_engine().ensure(row)


@pytest.mark.parametrize(("step", "refused"), [(1, False), (60, True)])
@pytest.mark.parametrize("why", ["another place", "a GPU"])
def test_last_bits_may_differ_on_a_gpu_and_at_another_place_of_a_batch(new_engine, monkeypatch, why, step, refused):
    """The sampler makes whole other images at another place; here they are exchanged for ones that are near or far."""
    if why == "a GPU":
        monkeypatch.setattr(rendering, "choose_device", lambda: "cuda")
        monkeypatch.setattr(rendering, "rendering_environment", lambda device: {})
    first = new_engine()
    row = left_by_an_earlier_audit(first, requests(BATCH))
    wanted = row if why == "a GPU" else row[::-1]
    again = {request: image for request, image, _ in first.drawn(wanted)}
    for request in row:
        near = np.where(again[request] < 128, again[request] + step, again[request] - step).astype(np.uint8)
        exchange(first, request, lambda pixels, near=near: near)
    later = new_engine()
    if refused:
        with pytest.raises(StoreError, match="differ by 60"):
            later.ensure(wanted)
    else:
        later.ensure(wanted)
        assert (later.counts.rendered, later.counts.rechecked) == (0, BATCH)


def test_a_long_audit_checks_a_few_more_and_never_fewer(new_engine):
    first = new_engine()
    row = left_by_an_earlier_audit(first, requests(100 * BATCH))
    counts = []
    for _ in range(20):
        rechecks = Rechecks(first.store, first.sampling)
        keys = [first.key(request) for request in row]
        batches = [slice(start, start + BATCH) for start in range(0, len(row), BATCH)]
        counts.append(sum(rechecks.chooses(row[batch], keys[batch]) for batch in batches))
    assert min(counts) >= 1
    assert 2 < np.mean(counts) < 9  # 1 + 1/2 + … + 1/100 = 5.2


def test_another_library_or_device_draws_every_image_anew(new_engine, monkeypatch):
    row, first = requests(BATCH), new_engine()
    first.ensure(row)
    monkeypatch.setattr(environment, "version", lambda package: "another")
    other = new_engine()
    other.ensure(row)
    assert other.rendered == BATCH
    assert not {first.key(each) for each in row} & {other.key(each) for each in row}
