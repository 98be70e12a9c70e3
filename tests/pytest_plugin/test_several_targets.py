"""One model, several targets erased from it: each is audited as if alone, in one session."""

import json
import os
import re
import shutil
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy
from dossier_files import write_dossier

from dmun_audit.verdict.vocabulary import AuditVerdict

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]

BOTH = ["--target=Van Gogh", "--target=sunflowers"]
SLUGS = {"Van Gogh": "van-gogh", "sunflowers": "sunflowers"}
FIGURES = FEW_IMAGES | {"steps": 2, "concepts": 6}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Very few images of two steps, and controls that let nearly anything pass: too coarse to judge anything."""
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", **FIGURES)


def audit(*arguments, where=ROOT):
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", *map(str, arguments)]
    return processes.run(command, cwd=where)


@pytest.fixture(scope="module")
def together(quick, tmp_path_factory):
    """Both targets in one session without workers: its folder, and what the terminal said."""
    folder = tmp_path_factory.mktemp("together")
    options = [f"--policy={quick}", f"--store={folder / 'store'}", f"--audit-dir={folder / 'run'}"]
    return folder, audit(*BOTH, *options, f"--junitxml={folder / 'pytest.xml'}", "-v")


def evidence(folder):
    records = [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]
    return {record["case_id"]: {k: v for k, v in record.items() if k != "volatile"} for record in records}


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def images(store):
    return sorted(store.rglob("*.png"))


@pytest.mark.parametrize("target", list(SLUGS))
def test_a_target_among_several_leaves_the_evidence_that_it_leaves_alone(target, quick, together, tmp_path):
    shared = together[0] / "run" / SLUGS[target]
    drawn_before = target == "Van Gogh"  # the second target is drawn anew: alone, it draws what the first one drew before
    store = together[0] / "store" if drawn_before else tmp_path / "store"
    run = audit(f"--target={target}", f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}")
    assert f"VERDICT {manifest(shared)['verdict']}" in run.stdout, run.stdout
    assert len(evidence(shared)) > 20
    assert evidence(shared) == evidence(tmp_path / "run")
    volatile = {"attempts", "earlier_attempts", "started", "finished", "seconds", "images", "command"}
    one, other = ({k: v for k, v in manifest(folder).items() if k not in volatile} for folder in (shared, tmp_path / "run"))
    assert one == other
    assert not re.search(r"^\d+ targets:", run.stdout, re.MULTILINE)


def test_what_targets_share_is_drawn_once(together):
    drawn = [manifest(together[0] / "run" / slug)["images"] for slug in SLUGS.values()]
    assert sum(each["rendered"] for each in drawn) == len(images(together[0] / "store"))
    assert drawn[1]["reused"] > 0


def test_the_terminal_names_every_target_and_closes_with_a_line_for_each(together):
    folder, run = together
    assert "2 targets, up to" in run.stdout
    for target, slug in SLUGS.items():
        assert f"is {target} gone from" in run.stdout
        verdict = manifest(folder / "run" / slug)["verdict"]
        assert re.search(rf"^  {target} +{verdict} +{folder / 'run' / slug / 'report.html'}$", run.stdout, re.MULTILINE)
        assert (folder / "run" / slug / "report.html").is_file()
    verdict = AuditVerdict(re.search(r"^2 targets: (\w+)$", run.stdout, re.MULTILINE)[1])
    assert run.returncode == verdict.exit_code


def test_every_test_has_a_name_of_its_own_and_targets_follow_one_another(together):
    folder, run = together
    named = re.findall(r"^(\S+::test_\S+\[\S+\]) [A-Z]+", run.stdout, re.MULTILINE)
    assert len(named) == len(set(named)) > 40
    prefixes = [re.search(r"\[([a-z-]+):", name)[1] for name in named]
    assert sum(one != other for one, other in pairwise(prefixes)) == 1
    pooled = re.findall(r'name="(pooled\[[^"]+)"', (folder / "pytest.xml").read_text())
    assert len(pooled) == len(set(pooled)) == 6
    ordered = [name for name in named if "test_damage_follows_similarity" in name]
    assert len(ordered) == 2


def test_two_workers_leave_the_evidence_of_none(quick, together, tmp_path):
    audit(*BOTH, f"--policy={quick}", f"--store={tmp_path / 'store'}", f"--audit-dir={tmp_path / 'run'}", "-n", "2")
    for slug in SLUGS.values():
        assert evidence(tmp_path / "run" / slug) == evidence(together[0] / "run" / slug)
    drawn = [manifest(tmp_path / "run" / slug)["images"]["rendered"] for slug in SLUGS.values()]
    assert sum(drawn) == len(images(tmp_path / "store")) == len(images(together[0] / "store"))


def test_a_killed_run_of_several_goes_on_and_draws_nothing_twice(quick, together, tmp_path):
    options = [*BOTH, f"--policy={quick}", f"--store={tmp_path / 'store'}", f"--audit-dir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", *options]
    enough = manifest(together[0] / "run" / "van-gogh")["images"]["rendered"] + 8  # so it is the second target's turn
    running = processes.start(command, cwd=ROOT)
    while len(images(tmp_path / "store")) < enough:
        assert running.is_alive()
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.join()
    stored = {path: path.stat().st_mtime_ns for path in images(tmp_path / "store")}
    audit(*options)
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    for slug in SLUGS.values():
        assert evidence(tmp_path / "run" / slug) == evidence(together[0] / "run" / slug)
        assert len(manifest(tmp_path / "run" / slug)["attempts"]) == 2


def test_a_target_of_which_nothing_was_selected_is_named_and_leaves_the_whole_partial(quick, together, tmp_path):
    spelt = ["--dmun-target=Van Gogh", "--target=sunflowers", "--trust-remote-code", "-k", "van-gogh: and nearby"]
    run = audit(*spelt, f"--policy={quick}", f"--store={together[0] / 'store'}", f"--audit-dir={tmp_path / 'run'}")
    assert run.returncode == 11, run.stdout
    assert "2 targets: PARTIAL" in run.stdout
    assert re.search(r"^  sunflowers +not audited: none of its cases was selected$", run.stdout, re.MULTILINE)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["van-gogh"]
    held = manifest(tmp_path / "run" / "van-gogh")
    assert held["verdict"] == "PARTIAL"
    assert held["trust_remote_code"] is True
    assert manifest(together[0] / "run" / "van-gogh")["trust_remote_code"] is False


def test_cases_that_two_targets_share_stay_apart(quick, tmp_path):
    """The dossiers differ in the target's name alone: their neighbours are the same cases, with the same ids."""
    golden = write_dossier(tmp_path / "golden.json", "atelier-sunflowers", name="golden sunflowers", aliases=[])
    options = ["--knowledge=atelier-sunflowers", f"--knowledge={golden}", f"--policy={quick}", f"--store={tmp_path / 'store'}"]
    audit(*options, f"--audit-dir={tmp_path / 'run'}", "-k", "nearby")
    first, second = sorted((tmp_path / "run").iterdir(), reverse=True)
    assert second.name == "golden-sunflowers"
    assert list(evidence(first)) == list(evidence(second))
    assert len(evidence(second)) == FIGURES["concepts"] + 1
    assert (manifest(first)["images"]["rendered"], manifest(second)["images"]["rendered"]) == (len(images(tmp_path / "store")), 0)
    run = audit(*options, f"--audit-dir={tmp_path / 'one'}", "-k", "golden-sunflowers: and nearby")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["golden-sunflowers"]
    assert evidence(tmp_path / "one" / "golden-sunflowers") == evidence(second)
    assert run.returncode == manifest(tmp_path / "one" / "golden-sunflowers")["exit_code"]


def _with_a_test_of_ones_own(folder, text):
    shutil.copytree(ROOT / "audits", folder / "audits", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "audits" / "test_mine.py").write_text(text)


def test_a_test_of_ones_own_counts_for_the_target_of_its_case_and_else_for_all(quick, together, tmp_path):
    _with_a_test_of_ones_own(
        tmp_path,
        "def test_of_a_case(audit, control): assert 'sunflowers' not in audit.check(control).title\n"
        "def test_of_none(): assert False, 'no licence'\n",
    )
    audit(*BOTH, f"--policy={quick}", f"--store={together[0] / 'store'}", f"--audit-dir={tmp_path / 'run'}", where=tmp_path)
    failed = {slug: "\n".join(manifest(tmp_path / "run" / slug)["reasons"]) for slug in SLUGS.values()}
    assert all("test_of_none" in reasons and "no licence" in reasons for reasons in failed.values()), failed
    assert "test_of_a_case" in failed["sunflowers"]
    assert "test_of_a_case" not in failed["van-gogh"]


def test_a_stop_in_one_target_leaves_those_done_before_it_whole(quick, together, tmp_path):
    _with_a_test_of_ones_own(tmp_path, "def test_mine(audit, control): assert 'sunflowers' not in audit.check(control).title\n")
    options = [f"--policy={quick}", f"--store={together[0] / 'store'}", f"--audit-dir={tmp_path / 'run'}", "-x"]
    audit(*BOTH, *options, where=tmp_path)
    done, stopped = (manifest(tmp_path / "run" / slug) for slug in SLUGS.values())
    assert done["whole"]
    assert done["verdict"] == manifest(together[0] / "run" / "van-gogh")["verdict"]
    assert not stopped["whole"]
    assert stopped["verdict"] == "FAIL"


def test_a_copy_of_a_case_is_of_the_same_target(quick, together, tmp_path):
    _with_a_test_of_ones_own(
        tmp_path,
        "from dataclasses import replace\n"
        "def test_copy(audit, ordering):\n"
        "    assert audit.check(replace(ordering)).case_id == audit.check(ordering).case_id\n",
    )
    options = [f"--policy={quick}", f"--store={together[0] / 'store'}", f"--audit-dir={tmp_path / 'run'}", "-k", "test_copy"]
    run = audit(*BOTH, *options, where=tmp_path)
    assert "2 passed" in run.stdout, run.stdout
    for slug in SLUGS.values():
        ((case_id, record),) = evidence(tmp_path / "run" / slug).items()
        assert record == evidence(together[0] / "run" / slug)[case_id]


def test_a_run_folder_that_is_taken_stops_all_targets_before_any_image(quick, tmp_path):
    (tmp_path / "run" / "sunflowers").mkdir(parents=True)
    (tmp_path / "run" / "sunflowers" / "mine.txt").write_text("mine")
    run = audit(*BOTH, f"--policy={quick}", f"--store={tmp_path / 'store'}", f"--audit-dir={tmp_path / 'run'}")
    said = run.stdout + run.stderr
    assert run.returncode == 4, said
    assert "sunflowers holds other files" in said
    assert "VERDICT" not in said
    assert not images(tmp_path)
