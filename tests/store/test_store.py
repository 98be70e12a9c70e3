"""The store: whole files or none, digests checked, keys that change with whatever changes the pixels."""

import io
import multiprocessing
import os

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dmun_audit._util.errors import StoreError
from dmun_audit.store.environment import judging_environment, rendering_environment
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
    "environment": {"torch": "2.9", "device": "cpu"},
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
        {"drawing": {"acceleration": "layout"}},
        {"batch": 8},
        {"threads": 2},
        {"environment": {"torch": "2.10", "device": "cpu"}},
        {"environment": {"torch": "2.9", "device": "cuda"}},
    ],
)
def test_whatever_changes_the_pixels_changes_the_key(change):
    assert image_key(**FACTS) != image_key(**FACTS | change)


def test_a_pipeline_that_was_not_changed_has_the_keys_of_before():
    assert image_key(**FACTS, drawing={}) == image_key(**FACTS)


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


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded from now on."""
    opened, open_image = [], Image.open
    monkeypatch.setattr(Image, "open", lambda file, *rest: opened.append(file) or open_image(file, *rest))
    return opened


def test_an_image_is_found_without_decoding_it(tmp_path, pixels, decoded):
    store, key = ImageStore(tmp_path), image_key(**FACTS)
    store.write(key, pixels, {})
    assert key in store
    assert not decoded
    assert np.array_equal(store.read(key), pixels)
    assert decoded == [store.path(key)]


def test_an_image_of_an_earlier_version_is_decoded_to_find_it(tmp_path, pixels, decoded):
    store, key = ImageStore(tmp_path), image_key(**FACTS)
    store.write(key, pixels, {})
    unsealed = io.BytesIO()
    with Image.open(store.path(key)) as image:  # Pillow keeps no chunk that it does not know
        image.load()
        Image.fromarray(pixels).save(unsealed, "PNG", pnginfo=_texts(image))
    store.path(key).write_bytes(unsealed.getvalue())
    decoded.clear()
    assert key in store
    assert len(decoded) == 1
    other = key[:-1] + ("0" if key[-1] != "0" else "1")
    store.path(other).write_bytes(unsealed.getvalue())
    assert other not in store


def _texts(image):
    texts = PngImagePlugin.PngInfo()
    for name, text in image.text.items():
        texts.add_text(name, text)
    return texts


def test_no_changed_byte_of_an_image_goes_unnoticed_unless_the_pixels_are_right(tmp_path, pixels):
    store, key = ImageStore(tmp_path), image_key(**FACTS)
    store.write(key, pixels, {"prompt": "a cat"})
    data = store.path(key).read_bytes()
    for place in range(len(data)):
        store.path(key).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        found, kept = key in store, store.read(key)
        assert found == (kept is not None), place
        assert kept is None or np.array_equal(kept, pixels), place


def test_swapped_pixels_with_a_valid_png_are_noticed(tmp_path, pixels):
    store, key = ImageStore(tmp_path), image_key(**FACTS)
    store.write(key, pixels, {})
    Image.fromarray(255 - pixels).save(store.path(key))
    assert store.read(key) is None


def test_an_image_under_another_key_counts_as_absent_and_is_logged(tmp_path, pixels, caplog):
    """A whole file with its own valid digest, copied to the place of another prompt."""
    store, keys = ImageStore(tmp_path), [image_key(**FACTS | {"prompt": prompt}) for prompt in ("a cat", "a dog")]
    store.write(keys[0], pixels, {})
    assert store.read(keys[1]) is None
    assert not caplog.records
    store.path(keys[1]).parent.mkdir(parents=True, exist_ok=True)
    store.path(keys[1]).write_bytes(store.path(keys[0]).read_bytes())
    assert store.read(keys[1]) is None
    assert keys[1] not in store
    assert "under its key" in caplog.text
    assert keys[1] in caplog.text
    assert np.array_equal(store.read(keys[0]), pixels)


def test_pixels_of_another_shape_do_not_match(tmp_path, pixels):
    store, key = ImageStore(tmp_path), image_key(**FACTS)
    store.write(key, pixels.reshape(4, 16, 3), {})
    other = store.path(key).read_bytes()
    store.write(key, pixels, {})
    assert store.path(key).read_bytes() != other


def test_the_environment_names_versions_and_device():
    import diffusers
    import torch

    images, embeddings = rendering_environment("cpu"), judging_environment("cpu")
    assert images["torch"] == embeddings["torch"] == torch.__version__
    assert images["diffusers"] == diffusers.__version__
    assert {"transformers", "open_clip_torch", "pillow"} <= embeddings.keys()
    assert torch.backends.cpu.get_cpu_capability() in images["device"]


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
