"""Stores in object storage: what one machine has drawn, another reads, checked like any file; each error is told once."""

import os
import sys
from dataclasses import replace

import fsspec
import numpy as np
import object_storage
import processes
import pytest

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit.store import remote
from dmun_audit.store.attempts import Attempt, AttemptLog
from dmun_audit.store.images import ImageStore
from dmun_audit.store.probes import ProbeStore
from dmun_audit.store.remote import is_url, local_part, remote_of

ATTEMPT = Attempt("1" * 64, "2026-11-20T10:00:00Z", "run", "Van Gogh", "release", "p" * 64, "d" * 64, 5, "after fingerprint")
KEYS = [f"{number:064x}" for number in range(3)]


@pytest.fixture(scope="module")
def s3():
    """The environment of a running S3 server with the bucket `audits`."""
    with object_storage.s3_server("audits") as environment:
        yield environment


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Gives the store of a machine at a URL; each machine has a cache folder of its own."""

    def store(name, url):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return ImageStore(local_part(url))

    return store


@pytest.fixture(params=["file", "memory", "s3"])
def url(request, tmp_path, monkeypatch):
    """An empty place of each kind."""
    if request.param == "s3":
        for name, value in request.getfixturevalue("s3").items():
            monkeypatch.setenv(name, value)
        return f"s3://audits/{tmp_path.name}"
    return f"file://{tmp_path / 'shared'}" if request.param == "file" else f"memory://{tmp_path.name}"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def test_what_one_machine_writes_another_finds_by_a_listing_and_reads(machine, url, pixels):
    here = machine("here", url)
    here.require_writable()
    here.write(KEYS[0], pixels, {"prompt": "a house"})
    there = machine("there", url)
    assert there.folder != here.folder
    assert [key in there for key in KEYS] == [True, False, False]
    stored = there.stored(KEYS[0])
    assert np.array_equal(stored.pixels, pixels)
    assert stored.facts["prompt"] == "a house"
    assert there.path(KEYS[0]).read_bytes() == here.path(KEYS[0]).read_bytes()


def test_an_image_that_was_drawn_after_the_listing_is_read_all_the_same(machine, url, pixels):
    there = machine("there", url)
    assert KEYS[0] not in there
    machine("here", url).write(KEYS[0], pixels, {})
    there.fetch(KEYS)
    assert there.path(KEYS[0]).exists()
    assert np.array_equal(there.read(KEYS[0]), pixels)


def test_a_listing_hides_no_image_that_comes_later_into_the_same_folder(machine, url, pixels):
    here = machine("here", url)
    here.write(KEYS[0], pixels, {})
    there = machine("there", url)
    assert [key in there for key in KEYS[:2]] == [True, False]
    here.write(KEYS[1], pixels, {})
    assert np.array_equal(there.read(KEYS[1]), pixels)


def test_presence_is_one_listing_and_what_is_there_is_fetched_once(machine, tmp_path, pixels, monkeypatch):
    url = f"file://{tmp_path / 'shared'}"
    here = machine("here", url)
    for key in KEYS[:2]:
        here.write(key, pixels, {})
    asked = []
    system = type(fsspec.filesystem("file"))
    for name in ("find", "cat_file"):
        original = getattr(system, name)
        monkeypatch.setattr(system, name, lambda *given, act=name, do=original, **more: asked.append(act) or do(*given, **more))
    there = machine("there", url)
    for _ in range(2):
        there.share(KEYS)
        assert [key in there for key in KEYS] == [True, True, False]
    assert sorted(asked) == ["cat_file", "cat_file", "find"]


def test_a_file_that_was_changed_in_the_storage_counts_as_absent_and_is_written_again(machine, tmp_path, pixels, caplog):
    url = f"file://{tmp_path / 'shared'}"
    here = machine("here", url)
    here.write(KEYS[0], pixels, {})
    here.write(KEYS[1], pixels, {})
    names = [here.path(key).relative_to(here.folder) for key in KEYS]
    (tmp_path / "shared" / names[0]).write_bytes((tmp_path / "shared" / names[1]).read_bytes())
    there = machine("there", url)
    there.share(KEYS)
    assert [key in there for key in KEYS] == [False, True, False]
    assert "does not hold the image that was stored under its key" in caplog.text
    there.write(KEYS[0], pixels, {})
    assert KEYS[0] in machine("elsewhere", url)


def test_images_that_an_interrupted_audit_left_here_are_uploaded(machine, tmp_path, pixels):
    url = f"file://{tmp_path / 'shared'}"
    here = machine("here", url)
    here.write(KEYS[0], pixels, {})
    name = here.path(KEYS[0]).relative_to(here.folder)
    (tmp_path / "shared" / name).unlink()
    os.utime(here.path(KEYS[0]), (1, 1))
    again = machine("here", url)
    again.share(KEYS)
    assert (tmp_path / "shared" / name).read_bytes() == here.path(KEYS[0]).read_bytes()


def test_fetched_images_count_as_those_of_an_earlier_audit(machine, tmp_path, pixels):
    url = f"file://{tmp_path / 'shared'}"
    machine("here", url).write(KEYS[0], pixels, {})
    there = machine("there", url)
    there.share(KEYS)
    assert there.written(KEYS[0]) < there._opened - 10


def test_machines_share_the_first_probe_of_a_digest(machine, url):
    first, other = np.arange(3, dtype=np.float32), np.ones(3, np.float32)
    ProbeStore(machine("here", url).folder).first("digest", {}, first)
    assert np.array_equal(ProbeStore(machine("there", url).folder).first("digest", {}, other), first)


def test_a_damaged_probe_of_this_machine_is_mended_from_the_others(machine, url):
    first, other = np.arange(3, dtype=np.float32), np.ones(3, np.float32)
    here, there = ProbeStore(machine("here", url).folder), ProbeStore(machine("there", url).folder)
    here.first("digest", {}, first)
    there.first("digest", {}, first)
    there.path("digest", {}).write_bytes(b"damaged")
    assert np.array_equal(there.first("digest", {}, other), first)
    assert there.path("digest", {}).read_bytes() == here.path("digest", {}).read_bytes()


def test_machines_share_the_log_of_attempts_on_the_same_weights(machine, url):
    logs = [AttemptLog(machine(name, url).folder, "a" * 64) for name in ("here", "there")]
    attempts = [replace(ATTEMPT, audit_hash=letter * 64, began=began) for letter, began in (("b", "earlier"), ("c", "later"))]
    for log, attempt in zip(logs, attempts, strict=True):
        log.append(attempt)
    logs[1].append(replace(attempts[1], verdict="PASS"))
    for log in logs:
        assert log.attempts() == [attempts[0], replace(attempts[1], verdict="PASS")]


def test_a_folder_is_no_url_and_a_url_names_a_place(tmp_path):
    assert remote_of(tmp_path) is None
    assert [is_url(text) for text in ("s3://b/p", "gs://b", "store", "/tmp/a:b", "C:\\store")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    with pytest.raises(UsageError, match="names no place"):
        local_part("s3://")
    with pytest.raises(UsageError, match="holds a password") as caught:
        local_part("ftp://me:hunter2@host/folder")
    assert "hunter2" not in str(caught.value)


def test_a_kind_of_storage_whose_package_is_missing_is_one_error(monkeypatch):
    monkeypatch.setitem(remote.PACKAGES, "s3", "no_such_package")
    with pytest.raises(UsageError, match="needs the package no_such_package") as caught:
        local_part("s3://bucket/prefix")
    assert "pip install 'dmun_audit[cloud]'" in caught.value.remedy


WITHOUT = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none"}


@pytest.mark.parametrize(
    ("url", "change", "words", "remedy"),
    [
        ("s3://no-such-bucket/x", {}, "bucket", "create the bucket"),
        ("s3://audits/x", WITHOUT, "credentials", "give credentials"),
        ("s3://audits/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "127.0.0.1:9", "check the network"),
    ],
)
def test_an_error_of_the_storage_is_told_once_with_what_to_do(s3, tmp_path, url, change, words, remedy):
    code = f"from dmun_audit.store.images import *\nfrom dmun_audit.store.remote import *\nImageStore(local_part({url!r})).require_writable()"
    environment = object_storage.another_machine(tmp_path) | s3 | {"AWS_MAX_ATTEMPTS": "1"} | change
    done = processes.run(
        [sys.executable, "-c", code], env={name: value for name, value in environment.items() if value}, timeout=120
    )
    last = done.stderr[done.stderr.rindex("dmun_audit._util.errors.StoreError") :]
    assert last.startswith(f"dmun_audit._util.errors.StoreError: cannot write to {url}")
    assert words in last
    assert remedy in last


@pytest.mark.parametrize("url", ["nothing-opens-this://bucket/x", "abfs://bucket/x"])
def test_a_url_that_nothing_here_opens_is_one_error(machine, url):
    with pytest.raises(StoreError, match="cannot write to") as caught:
        machine("here", url).require_writable()
    assert caught.value.remedy.startswith("write a URL that fsspec can open")


def test_a_store_that_is_a_folder_imports_no_fsspec(tmp_path):
    code = "import sys\nfrom pathlib import Path\nfrom dmun_audit.store.images import ImageStore\n"
    code += f"store = ImageStore(Path({str(tmp_path)!r}))\nstore.share(['0' * 64])\nassert 'fsspec' not in sys.modules"
    assert processes.run([sys.executable, "-c", code]).returncode == 0


def test_a_damaged_note_of_the_url_is_one_error(machine):
    store = machine("here", "memory://store")
    (store.folder / "remote.json").write_text("{")
    with pytest.raises(StoreError, match="does not hold the URL of a store"):
        ImageStore(store.folder)
