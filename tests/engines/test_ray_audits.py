"""Whole audits on a Ray cluster: the evidence of the local engine, whatever is killed, and errors as they are told locally."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy

import dmun_audit
from dmun_audit.evidence.schema import without_volatile

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]
ROOT = processes.TESTS.parent


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", **FEW_IMAGES)


@pytest.fixture(scope="module")
def audited(policy):
    """Audit in this process with one engine; gives the evidence by case, the images of the store, and the manifest."""

    def audit(folder, engine):
        where = {"audit_dir": folder / "run", "store": folder / "store"}
        result = dmun_audit.audit("atelier:uce-van-gogh", policy=policy, engine=engine, keep_going=True, **where)
        images = {path.name: path.read_bytes() for path in folder.rglob("store/images/*/*.png")}
        return {case.case_id: without_volatile(case.to_json()) for case in result.cases}, images, result.manifest

    return audit


@pytest.fixture(scope="module")
def local(audited, tmp_path_factory):
    return audited(tmp_path_factory.mktemp("local"), "local")


def renderers():
    """The processes that draw a batch now, by Ray's own names of them, as descendants of this process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes().startswith(b"ray::Renderer.render") and _is_ours(entry):
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


def test_evidence_and_images_are_those_of_the_local_engine_although_a_renderer_is_killed(ray_address, audited, local, tmp_path):
    killed, done = [], threading.Event()

    def kill():
        while not done.is_set() and not killed:
            if list(tmp_path.rglob("store/images/*/*.png")) and (drawing := renderers()):
                os.kill(drawing[0], signal.SIGKILL)
                killed.append(drawing[0])
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    evidence, images, manifest = audited(tmp_path, "ray")
    done.set()
    thread.join()
    expected, expected_images, of_local = local
    assert killed
    assert len(evidence) > 20
    assert evidence == expected
    assert images == expected_images
    assert manifest.images == of_local.images
    assert manifest.hardware == of_local.hardware | {"renderers": 2}
    assert not list((tmp_path / "store" / "nodes").iterdir())


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
