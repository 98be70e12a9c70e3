"""`dmun-audit store`: what a store holds, what of it is damaged, and what may go."""

import json
import os
import time

import numpy as np
import pytest
import torch

from dmun_audit.cli import main
from dmun_audit.probes.parts.finds import FindStore
from dmun_audit.store.images import ImageStore

KEYS = [f"{number:064x}" for number in range(4)]
FIND = "f" * 64


@pytest.fixture
def folder(tmp_path):
    """A store with four images, the first a hundred days old, and a find as old."""
    store, finds = ImageStore(tmp_path / "store"), FindStore(tmp_path / "store")
    for key in KEYS:
        store.write(key, np.full((8, 8, 3), 7, np.uint8), {"prompt": "a boat"})
    finds.get(FIND, lambda checkpoint: ({"ids": torch.zeros(2)}, {"kind": "tokens"}))
    for path in (store.path(KEYS[0]), finds.path(FIND)):
        age(path, 100)
    (tmp_path / "store" / "attempts").mkdir()
    (tmp_path / "store" / "attempts" / "log.jsonl").write_text("{}")
    age(tmp_path / "store" / "attempts" / "log.jsonl", 1000)
    return tmp_path / "store"


def age(path, days):
    then = time.time() - days * 24 * 60 * 60
    os.utime(path, (then, then))


@pytest.mark.parametrize("command", [["list"], ["verify"], ["prune", "--older-than=0"]], ids=lambda words: words[0])
@pytest.mark.parametrize("files", [["van-gogh-uce/manifest.json"], ["images/x.png", "manifest.json"], ["notes.txt"]])
def test_a_folder_that_is_no_store_is_refused(tmp_path, capsys, command, files):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert main(["store", *command, f"--store={tmp_path}"]) == 4
    assert "is no store" in capsys.readouterr().err


def said(capsys, *arguments):
    code = main(["store", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_list_counts_files_and_bytes_by_kind(folder, capsys):
    code, text = said(capsys, "list", "--store", folder)
    assert code == 0
    assert "       4 " in next(line for line in text.splitlines() if line.endswith("images"))
    assert "logs of attempts" in text


def test_a_whole_store_is_said_to_be_whole(folder, capsys):
    assert said(capsys, "verify", "--store", folder)[0] == 0


def test_damaged_files_are_named_and_removed_on_demand(folder, capsys):
    image, find = ImageStore(folder).path(KEYS[1]), FindStore(folder).path(FIND)
    image.write_bytes(image.read_bytes()[:-20])
    find.write_bytes(b"other")
    left = image.with_name(".partial-1")
    left.write_bytes(b"half")
    code, text = said(capsys, "verify", "--store", folder)
    assert code == 1
    assert [str(path) in text for path in (image, find, left)] == [True] * 3
    assert "3 damaged" in text
    assert image.exists()
    assert said(capsys, "verify", "--store", folder, "--remove")[0] == 0
    assert not any(path.exists() for path in (image, find, left))
    assert said(capsys, "verify", "--store", folder)[0] == 0


def test_prune_says_what_would_go_and_removes_it_only_when_told_so(folder, capsys):
    old = [ImageStore(folder).path(KEYS[0]), FindStore(folder).path(FIND)]
    code, text = said(capsys, "prune", "--store", folder, "--older-than=30")
    assert code == 0
    assert "2 files" in text
    assert "nothing was removed" in text
    assert all(path.exists() for path in old)
    said(capsys, "prune", "--store", folder, "--older-than=30", "--yes")
    assert not any(path.exists() for path in old)
    assert all(ImageStore(folder).path(key).exists() for key in KEYS[1:])
    assert (folder / "attempts" / "log.jsonl").exists()


def test_prune_keeps_what_a_run_used(folder, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    image = {"model": "base", "prompt": "a boat", "key": KEYS[0]}
    case = {"case_id": "one", "verdict": "PASS", "images": [image]}
    (run / "evidence.jsonl").write_text(json.dumps(case) + "\n")
    (run / "manifest.json").write_text(json.dumps({"format": 3}))
    said(capsys, "prune", "--store", folder, "--older-than=30", f"--keep={run}", "--yes")
    assert ImageStore(folder).path(KEYS[0]).exists()
    assert not FindStore(folder).path(FIND).exists()


def test_bad_input_is_one_error(folder, tmp_path, capsys):
    assert "is no folder" in said(capsys, "list", "--store", tmp_path / "none")[1]
    assert "is no number of days" in said(capsys, "prune", "--store", folder, "--older-than=nan")[1]
    code, text = said(capsys, "prune", "--store", folder, "--older-than=1", "--keep", tmp_path / "none", "--yes")
    assert code == 4
    assert ImageStore(folder).path(KEYS[0]).exists(), text
