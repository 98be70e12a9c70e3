"""Audits that share one store: at once, with other judges, with other libraries, with a model whose code changed, and after a fraud."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import processes
import pytest
from altered_judges import judge_with, nudged
from coarse import FEW_IMAGES, coarse_policy

from dmun_audit.store.images import ImageStore

ROOT = processes.TESTS.parent
FIGURES = FEW_IMAGES | {"steps": 2, "minimum_valid": 2}
ERASURE = ("audits/test_controls.py", "audits/test_erasure.py")
NO_PASS = {1, 11}  # FAIL, or PARTIAL where some cases were run
LONG_AGO = (1_000_000_000, 1_000_000_000)


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """Audit with very few images of two steps; gives exit code, what the terminal said, evidence and manifest."""
    folder = tmp_path_factory.mktemp("shared")
    policy = coarse_policy(folder / "quick.toml", **FIGURES)
    rechecks = folder / "rechecks.toml"
    rechecks.write_text(policy.read_text().replace("[sampling]", "[sampling]\nrecheck_images = 8"))

    def run(store, run_folder, *options, model="atelier:noop", rechecked=False, code=None, tests=ERASURE):
        command = [sys.executable, "-m", "pytest", *tests, "-p", "no:cacheprovider", f"--model={model}", "--base=atelier:base"]
        command += ["--target=Van Gogh", f"--policy={rechecks if rechecked else policy}"]
        environment = os.environ | ({"PYTHONPATH": os.pathsep.join([str(code), str(ROOT)])} if code else {})
        command += [f"--store={store}", f"--audit-dir={run_folder}", *options]
        done = processes.run(command, cwd=ROOT, env=environment)
        text = done.stdout + done.stderr
        if not (run_folder / "manifest.json").exists():
            return done.returncode, text, {}, {}
        lines = (run_folder / "evidence.jsonl").read_text().splitlines() if (run_folder / "evidence.jsonl").exists() else []
        records = {record["case_id"]: record for record in map(json.loads, lines)}
        evidence = {key: {k: v for k, v in record.items() if k != "volatile"} for key, record in records.items()}
        return done.returncode, text, evidence, json.loads((run_folder / "manifest.json").read_text())

    return run


@pytest.fixture(scope="module")
def store(audit, tmp_path_factory):
    """A store with the images of one audit."""
    folder = tmp_path_factory.mktemp("store")
    code, text, evidence, manifest = audit(folder / "store", folder / "run")
    assert code in NO_PASS, text
    return folder / "store", evidence, manifest


def scores(evidence):
    """The target scores of the candidate's images, in the order of the cases."""
    records = [record for _, record in sorted(evidence.items())]
    return [image["target_score"] for record in records for image in record["images"] if image["model"] == "candidate"]


def images_in(store):
    return sorted((store / "images").rglob("*.png"))


@pytest.mark.parametrize(("count", "tests"), [(2, ["audits/"]), (4, ERASURE)])
def test_audits_at_once_share_what_they_draw_and_come_to_the_same(audit, tmp_path, count, tests):
    def one(place):
        return audit(tmp_path / "store", tmp_path / f"run{place}", tests=tests)

    with ThreadPoolExecutor(count) as pool:
        runs = list(pool.map(one, range(count)))
    for code, text, evidence, _ in runs:
        assert code in NO_PASS, text
        assert evidence == runs[0][2] != {}
    drawn = [manifest["images"]["rendered"] for _, _, _, manifest in runs]
    assert sum(drawn) == len(images_in(tmp_path / "store")) > 0  # each image once, by one of them


def test_two_judges_share_the_images_and_not_the_embeddings(audit, store, tmp_path):
    place, expected, _ = store
    other = judge_with(tmp_path / "judge", nudged)
    folders = set((place / "embeddings").iterdir())
    _, text, evidence, manifest = audit(place, tmp_path / "other", f"--judge={other}")
    assert manifest["images"]["rendered"] == 0, text
    assert set((place / "embeddings").iterdir()) > folders
    assert evidence != expected
    _, text, evidence, manifest = audit(place, tmp_path / "again")
    assert manifest["images"]["rendered"] == 0, text
    assert evidence == expected


OTHER_VERSION = """
from dmun_audit.store import environment

installed = environment.version
environment.version = lambda package: "9.9" if package == PACKAGE else installed(package)
"""


@pytest.mark.parametrize(("package", "drawn_anew"), [("diffusers", True), ("open_clip_torch", False)])
def test_another_version_of_a_library_shares_nothing_that_it_decides(audit, store, tmp_path, package, drawn_anew):
    place, expected, alone = store
    (tmp_path / "other_version.py").write_text(OTHER_VERSION.replace("PACKAGE", repr(package)))
    images, folders = images_in(place), set((place / "embeddings").iterdir())
    _, text, evidence, manifest = audit(place, tmp_path / "run", "-p", "other_version", code=tmp_path)
    assert manifest["images"]["rendered"] == (alone["images"]["rendered"] if drawn_anew else 0), text
    assert len(images_in(place)) == (2 if drawn_anew else 1) * len(images)
    assert drawn_anew or set((place / "embeddings").iterdir()) > folders
    assert scores(evidence) == scores(expected)  # the versions are in fact the same
    for path in set(images_in(place)) - set(images):
        path.unlink()


PROCESSOR = """
from diffusers.models.attention_processor import AttnProcessor2_0

class Scaled(AttnProcessor2_0):
    def __call__(self, *arguments, **settings):
        return super().__call__(*arguments, **settings) * FACTOR

def model(pipeline):
    pipeline.unet.set_attn_processor(Scaled())
    return pipeline
"""


def test_a_model_whose_code_changed_is_not_judged_by_its_earlier_images(audit, store, tmp_path):
    """The reproduced fault: the second audit said "0 rendered", and a model that equals its base was not failed."""
    place, expected, _ = store
    results = {}
    for factor in ("0.0", "1.0"):
        folder = tmp_path / factor
        folder.mkdir()
        (folder / "our_model.py").write_text("from our_processor import model\n")
        (folder / "our_processor.py").write_text(PROCESSOR.replace("FACTOR", factor))
        _, text, evidence, manifest = audit(place, folder / "run", model="our_model:model", code=folder)
        assert manifest["images"]["rendered"] > 0, text
        assert manifest["images"]["reused"] > 0, text
        notes = manifest["models"]["candidate"]["proof"]["notes"]
        assert any("each session" in note for note in notes)
        results[factor] = scores(evidence)
    assert results["1.0"] == scores(expected)  # noop is the base, too
    assert results["0.0"] != results["1.0"]


# Rechecks.


def test_stored_images_are_drawn_again_and_an_exchanged_one_ends_the_audit(audit, store, tmp_path):
    place, expected, _ = store
    for path in images_in(place):
        os.utime(path, LONG_AGO)
    code, text, evidence, manifest = audit(place, tmp_path / "run", rechecked=True)
    assert code in NO_PASS, text
    assert manifest["images"]["rendered"] == 0
    assert manifest["images"]["rechecked"] >= 8
    assert scores(evidence) == scores(expected)

    stored = ImageStore(place)
    exchanged = [image["key"] for record in expected.values() for image in record["images"]]
    before = {key: stored.path(key).read_bytes() for key in exchanged}
    for key in exchanged:  # as if another model had drawn them all: whole files, with right digests
        image = stored.stored(key)
        stored.write(key, np.roll(image.pixels, 8, axis=0), {k: v for k, v in image.facts.items() if k != "sha256"})
        os.utime(stored.path(key), LONG_AGO)
    code, text, _, manifest = audit(place, tmp_path / "fraud", rechecked=True)
    for key, data in before.items():
        stored.path(key).write_bytes(data)
    assert code == 4, text
    assert any(str(stored.path(key)) in text for key in exchanged)
    assert "is not what the" in text
    assert "Traceback" not in text
    assert manifest["verdict"] == "INCOMPLETE"
