"""Whole audits on a Ray cluster: the evidence of the local engine, whatever is killed, and errors as they are told locally."""

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy

import dmun_audit
from dmun_audit.evidence.schema import without_volatile

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]
ROOT = processes.TESTS.parent
MODELS = ("atelier:uce-van-gogh", "atelier:esd-van-gogh", "atelier:uce-sunflowers")
TARGETS = ("Van Gogh", "sunflowers")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", **FEW_IMAGES)


@pytest.fixture(scope="module")
def audited(policy):
    """Run the campaign in this process with one engine. `on_case` is called after each case."""

    def audit(folder, engine, on_case=None):
        where = {"audit_dir": folder / "runs", "campaign_dir": folder / "table", "store": folder / "store"}
        return dmun_audit.campaign(MODELS, TARGETS, policy=policy, engine=engine, keep_going=True, on_case=on_case, **where)

    return audit


@pytest.fixture(scope="module")
def local(audited, tmp_path_factory):
    """The folder and the result of the campaign with the local engine."""
    folder = tmp_path_factory.mktemp("local")
    return folder, audited(folder, "local")


@pytest.fixture(scope="module")
def on_ray(ray_address, audited, tmp_path_factory):
    """The campaign on Ray. One renderer is killed while it draws, and one while it judges.

    Gives its folder, its result, what the killed renderers did, and which renderers were there after each case.
    """
    folder, there, killed, done = tmp_path_factory.mktemp("ray"), [], [], threading.Event()

    def kill():
        """A renderer is killed only when the store already holds a result of its kind."""
        waiting = {"render": "store/images/*/*.png", "embed": "store/embeddings/*.sqlite"}
        while waiting and not done.is_set():
            for doing, stored in list(waiting.items()):
                if any(folder.glob(stored)) and (busy := renderers(f".{doing}")):
                    os.kill(busy[0], signal.SIGKILL)
                    killed.append(doing)
                    del waiting[doing]
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        result = audited(folder, "ray", lambda record: there.append(set(renderers())))
    finally:
        done.set()
        thread.join()
    return folder, result, killed, there


def renderers(doing=""):
    """The renderers that are descendants of this process, or those of them that do something now, as Ray names processes."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().startswith(f"ray::Renderer{doing}".encode()) and _is_ours(entry):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def _is_ours(entry):
    pid = int(entry.name)
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if pid == os.getpid():
            return True
    return False


def evidence(result):
    """What was decided, by audit and case."""
    return {
        (*audit, case.case_id): without_volatile(case.to_json()) for audit, each in result.results.items() for case in each.cases
    }


def images(folder):
    """The files of the store's images by name."""
    return {path.name: path.read_bytes() for path in folder.glob("store/images/*/*.png")}


def embeddings(folder):
    """The embeddings in the store, by file and key."""
    rows = {}
    for path in folder.glob("store/embeddings/*.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            rows |= {(path.name, key): vector for key, vector in connection.execute("SELECT key, vector FROM embeddings")}
    return rows


def test_the_evidence_is_that_of_the_local_engine_although_renderers_are_killed(on_ray, local):
    _, result, killed, _ = on_ray
    _, expected = local
    assert sorted(killed) == ["embed", "render"]
    assert not result.errors
    assert len(evidence(result)) > 100
    assert evidence(result) == evidence(expected)


def test_the_images_are_those_of_the_local_engine_and_each_is_drawn_once_for_all_models(on_ray, local):
    folder, result, *_ = on_ray
    assert images(folder) == images(local[0])
    assert sum(row.rendered for row in result.record.audits) == len(images(folder))
    assert [row.rendered for row in result.record.audits] == [row.rendered for row in local[1].record.audits]
    assert not list((folder / "store" / "nodes").iterdir())


def test_the_embeddings_of_renderers_are_stored_where_the_local_judge_looks_for_them(on_ray, local):
    made, expected = embeddings(on_ray[0]), embeddings(local[0])
    assert made == expected


def test_each_model_has_renderers_of_its_own_and_at_most_two_at_a_time(on_ray):
    _, result, _, there = on_ray
    seen = {model: set() for model, _ in result.results}
    for (model, _), audit in result.results.items():
        cases = sum(not case.pooled for case in audit.cases)
        now, there = there[:cases], there[cases:]
        seen[model].update(*now)
        assert 1 <= max(map(len, now)) <= 2
        assert audit.manifest.hardware["renderers"] == 2
    assert not there
    one, two, three = seen.values()
    assert not one & two
    assert not (one | two) & three
    assert not renderers()


OTHER_WEIGHTS = """
import torch

def model(pipeline):
    with torch.no_grad():
        next(pipeline.unet.parameters()).add_(torch.rand(1))
    return pipeline
"""


def test_a_renderer_that_loads_other_weights_is_one_error(ray_address, policy, tmp_path):
    (tmp_path / "our_model.py").write_text(OTHER_WEIGHTS)
    command = [sys.executable, "-m", "pytest", ROOT / "audits", "-p", "no:cacheprovider", f"--policy={policy}", "--engine=ray"]
    command += ["--model=our_model:model", "--base=atelier:base", "--target=Van Gogh"]
    command += [f"--store={tmp_path / 'store'}", f"--audit-dir={tmp_path / 'run'}"]
    done = processes.run(command, cwd=tmp_path, env=os.environ | {"RAY_ADDRESS": ray_address, "PYTHONPATH": str(ROOT)})
    text = done.stdout + done.stderr
    assert done.returncode == 4, text
    assert text.count("ERROR: our_model:model has other weights for a renderer than for this process") == 1
    assert "Traceback" not in text
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["verdict"] == "INCOMPLETE"
