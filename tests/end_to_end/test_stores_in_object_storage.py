"""Audits whose store is a bucket: workers share it, a second machine draws nothing, and the evidence is the same."""

import sys

import object_storage
import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy

from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.schema import without_volatile

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]


@pytest.fixture
def audit(tmp_path):
    """Audit on a machine with a cache folder of its own; gives the evidence by case, the manifest and the images of the run folder."""
    policy = coarse_policy(tmp_path / "quick.toml", **FEW_IMAGES)
    with object_storage.s3_server("audits") as s3:

        def run(machine, *options, store="s3://audits/van-gogh"):
            folder = tmp_path / machine
            command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--keep-going"]
            command += [
                "--model=atelier:uce-van-gogh",
                f"--policy={policy}",
                f"--store={store}",
                f"--audit-dir={folder / 'run'}",
                *options,
            ]
            environment = object_storage.another_machine(folder / "cache") | s3
            done = processes.run(command, cwd=processes.TESTS.parent, env=environment)
            return done.stdout + done.stderr, folder / "run"

        yield run


def facts(folder):
    """The evidence by case, how many images were drawn, and the files of the images that the evidence shows."""
    run = read_run(folder)
    images = {path.name: path.read_bytes() for path in folder.glob("images/*.png")}
    return {case.case_id: without_volatile(case.to_json()) for case in run.cases}, run.manifest.images["rendered"], images


def test_a_second_machine_draws_no_image_of_a_bucket_that_two_workers_filled(audit):
    text, folder = audit("first", "-n", "2")
    evidence, drawn, images = facts(folder)
    assert len(evidence) > 20
    assert drawn > 20, text
    text, folder = audit("second")
    assert facts(folder) == (evidence, 0, images), text


def test_a_bucket_that_does_not_exist_is_one_error_before_anything_is_drawn(audit):
    text, folder = audit("first", store="s3://no-such-bucket/van-gogh")
    assert text.count("ERROR: cannot write to s3://no-such-bucket/van-gogh") == 1
    assert "create the bucket" in text
    assert "Traceback" not in text
    assert not (folder / "evidence.jsonl").exists()
