"""The store of embeddings: every vector computed once, bound to image and judge, whole after a killed process and a damaged file."""

import multiprocessing
import os
import signal
import sqlite3
import time

import numpy as np
import pytest

from dmun_audit._util.errors import StoreError
from dmun_audit.store.embeddings import EmbeddingStore

KEYS = [f"{place:064x}" for place in range(1200)]
VECTOR = np.linspace(0, 1, 5, dtype=np.float32)
FORK = multiprocessing.get_context("fork")


def vector_of(key):
    return np.full(8, int(key, 16), np.float32)


def test_embeddings_come_back_bit_for_bit_in_one_file(tmp_path):
    store, vectors = EmbeddingStore(tmp_path, "f" * 64), {key: vector_of(key) / 7 for key in KEYS}
    assert store.read(KEYS) == {}
    store.write(vectors)
    read = store.read([*KEYS, "f" * 64])
    assert read.keys() == vectors.keys()
    assert all(np.array_equal(read[key], vectors[key]) for key in KEYS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [store.path]
    assert EmbeddingStore(tmp_path, "e" * 64).read(KEYS) == {}


def test_embeddings_of_other_versions_are_not_used(tmp_path):
    one, other = (EmbeddingStore(tmp_path, "f" * 64, {"open_clip_torch": number}) for number in ("2", "3"))
    one.write({KEYS[0]: VECTOR})
    assert not other.read(KEYS)
    other.write({KEYS[0]: 1 - VECTOR})
    assert np.array_equal(one.read(KEYS)[KEYS[0]], VECTOR)
    assert np.array_equal(other.of_judge("f" * 64).read(KEYS)[KEYS[0]], 1 - VECTOR)


def _change(path, statement, *values):
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE embeddings SET vector = zeroblob(20)",
        "UPDATE embeddings SET vector = substr(vector, 1, 16)",
        "UPDATE embeddings SET vector = 'text', bound = 7",
        f"UPDATE embeddings SET key = '{KEYS[1]}'",
    ],
)
def test_a_changed_row_counts_as_absent_and_is_logged(change, tmp_path, caplog):
    store = EmbeddingStore(tmp_path, "f" * 64)
    store.write({KEYS[0]: VECTOR})
    _change(store.path, change)
    assert store.read(KEYS) == {}
    assert "under its key" in caplog.text


def test_a_file_of_another_judge_is_not_read(tmp_path, caplog):
    store, other = EmbeddingStore(tmp_path, "f" * 64), EmbeddingStore(tmp_path, "e" * 64)
    store.write({KEYS[0]: VECTOR})
    other.path.write_bytes(store.path.read_bytes())
    assert other.read(KEYS) == {}
    assert "under its key" in caplog.text
    assert np.array_equal(store.read(KEYS)[KEYS[0]], VECTOR)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"no database",
        lambda data: b"\0" * len(data),
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + os.urandom(len(data) - 100),
    ],
)
def test_a_damaged_file_counts_as_absent_and_is_replaced(damage, tmp_path):
    store = EmbeddingStore(tmp_path, "f" * 64)
    store.write({key: vector_of(key) for key in KEYS})
    store.path.write_bytes(damage(store.path.read_bytes()))
    assert store.read(KEYS).keys() < set(KEYS)
    store.write({key: vector_of(key) for key in KEYS})
    read = store.read(KEYS)
    assert all(np.array_equal(read[key], vector_of(key)) for key in KEYS)


def test_a_file_that_cannot_be_opened_is_one_clear_error(tmp_path):
    store = EmbeddingStore(tmp_path, "f" * 64)
    store.path.mkdir(parents=True)
    for act in (lambda: store.read(KEYS), lambda: store.write({KEYS[0]: VECTOR})):
        with pytest.raises(StoreError, match=r"cannot write .*\.sqlite"):
            act()


def _complete(folder, keys, log):
    def compute(batch):
        with log.open("a") as stream:
            stream.write("".join(f"{key}\n" for key in batch))
        time.sleep(0.002)
        return [vector_of(key) for key in batch]

    vectors = EmbeddingStore(folder, "f" * 64).complete(keys, compute, 16)
    assert all(np.array_equal(vectors[key], vector_of(key)) for key in keys)


def test_processes_compute_every_vector_once(tmp_path):
    log = tmp_path / "computed"
    orders = (KEYS[:300], KEYS[300::-1], KEYS[100:200] * 2)
    workers = [FORK.Process(target=_complete, args=(tmp_path, order, log)) for order in orders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    computed = log.read_text().split()
    assert sorted(computed) == KEYS[:301]


def test_a_killed_process_loses_its_last_batch_at_most(tmp_path):
    """It is killed again and again, a little later each time, until everything is computed."""
    log, kills, begun = tmp_path / "computed", 0, 0
    log.touch()
    while True:
        worker = FORK.Process(target=_complete, args=(tmp_path, KEYS[:300], log))
        worker.start()
        worker.join(0.03 + 0.01 * kills)
        if worker.exitcode is None:
            os.kill(worker.pid, signal.SIGKILL)
            kills += 1
        worker.join(60)
        stored, computed = EmbeddingStore(tmp_path, "f" * 64).read(KEYS), log.read_text().split()
        assert all(np.array_equal(vector, vector_of(key)) for key, vector in stored.items())
        assert len(stored) >= begun
        assert len(set(computed)) - len(stored) <= 16
        begun = len(stored)
        if worker.exitcode == 0:
            break
    assert kills
    assert len(computed) <= 300 + 16 * kills
