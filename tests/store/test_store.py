"""The store: whole files or none, digests checked, keys that change with whatever changes the pixels."""

import multiprocessing
import os

import numpy as np
import pytest

from dmun_audit._util.errors import StoreError
from dmun_audit.store.embeddings import EmbeddingStore
from dmun_audit.store.files import held, require_writable, write_atomically
from dmun_audit.store.images import ImageStore, image_key

FACTS = {
    "weights": "w",
    "prompt": "a cat",
    "seed": 1,
    "sampler": {"steps": 20},
    "size": (8, 8),
    "dtype": "float32",
    "batch": 16,
    "threads": 1,
}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "v"},
        {"prompt": "a cat "},
        {"seed": 2},
        {"sampler": {"steps": 21}},
        {"size": (8, 16)},
        {"dtype": "bfloat16"},
        {"batch": 8},
        {"threads": 2},
    ],
)
def test_whatever_changes_the_pixels_changes_the_key(change):
    assert image_key(**FACTS) != image_key(**FACTS | change)


def test_images_come_back_bit_for_bit(tmp_path, pixels):
    store, key = ImageStore(tmp_path), image_key(**FACTS)
    assert store.read(key) is None
    store.write(key, pixels, {"prompt": "a cat"})
    assert np.array_equal(store.read(key), pixels)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:60] + b"XX" + b[62:]])
def test_a_damaged_image_counts_as_absent(tmp_path, pixels, damage):
    store, key = ImageStore(tmp_path), image_key(**FACTS)
    store.write(key, pixels, {})
    path = store.path(key)
    path.write_bytes(damage(path.read_bytes()))
    assert store.read(key) is None
    assert key not in store


def test_swapped_pixels_with_a_valid_png_are_noticed(tmp_path, pixels):
    store, key = ImageStore(tmp_path), image_key(**FACTS)
    store.write(key, pixels, {})
    from PIL import Image

    Image.fromarray(255 - pixels).save(store.path(key))
    assert store.read(key) is None


def test_embeddings_come_back_and_damage_is_noticed(tmp_path):
    store = EmbeddingStore(tmp_path, "f" * 64)
    vector = np.linspace(0, 1, 5, dtype=np.float32)
    store.write("ab" * 32, vector)
    assert np.array_equal(store.read("ab" * 32), vector)
    path = next(tmp_path.rglob("*.f32"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert store.read("ab" * 32) is None
    assert EmbeddingStore(tmp_path, "e" * 64).read("ab" * 32) is None


def _write_often(path, value):
    for _ in range(200):
        write_atomically(path, value * 5000)


def test_concurrent_writers_never_leave_a_mixture(tmp_path):
    path = tmp_path / "file"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(path, letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.add(path.read_bytes())
    for writer in writers:
        writer.join()
    assert seen <= {b"a" * 5000, b"b" * 5000}
    assert seen
    assert not list(tmp_path.glob(".partial-*"))


def test_a_busy_lock_is_reported_without_waiting(tmp_path):
    with held(tmp_path / "x.lock") as first, held(tmp_path / "x.lock", wait=False) as second:
        assert first
        assert not second


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_an_unwritable_place_gives_one_clear_error():
    from pathlib import Path

    with pytest.raises(StoreError, match="cannot write"):
        write_atomically(Path("/dev/full/x"), b"data")


def test_what_is_written_can_be_read_by_whomever_the_umask_lets(tmp_path):
    previous = os.umask(0o022)
    try:
        write_atomically(tmp_path / "manifest.json", b"{}")
    finally:
        os.umask(previous)
    assert (tmp_path / "manifest.json").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_store_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="cannot write to"):
        require_writable(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="cannot lock"), held(tmp_path / "file" / "lock"):
        pass
