"""Several runs of one audit in the same folder: each reports its own tests, and none loses what an earlier one wrote."""

import json
import sys

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy

import dmun_audit
from dmun_audit.evidence.schema import FORMAT

ROOT = processes.TESTS.parent
FIGURES = FEW_IMAGES | {"steps": 2, "minimum_valid": 2}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", **FIGURES)


@pytest.fixture
def run(quick, store, tmp_path):
    """Run tests of an audit of `noop`, which was not erased, always in the same run folder."""

    def command(*arguments, model="noop"):
        words = [sys.executable, "-m", "pytest", *map(str, arguments), "-p", "no:cacheprovider", f"--model=atelier:{model}"]
        return processes.run([*words, f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}"], cwd=ROOT)

    return command


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_a_second_run_reports_its_own_tests_and_no_claims_of_the_first(run):
    first = run("audits/test_erasure.py", "audits/test_controls.py")
    (listed,) = {word for word in first.stdout.split() if "::pooled[all-direct-prompts" in word}
    alone = run(listed)  # as somebody copies it from the output
    assert alone.returncode == 4
    assert "do:   run its file: audits/test_erasure.py" in alone.stdout + alone.stderr
    second = run("audits/test_controls.py", "-k", "nowhere")
    assert "1 passed" in second.stdout, second.stdout
    assert "failed" not in second.stdout
    assert "pooled[" not in second.stdout


def test_a_repeat_that_is_stopped_leaves_the_verdict_and_its_files_alone(run, tmp_path):
    run("audits/", model="retrained")
    folder = tmp_path / "run"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "run.lock"}
    assert manifest(folder)["whole"] is True
    (tmp_path / "test_stop.py").write_text("def test_stop(audit): raise KeyboardInterrupt\n")
    again = run("audits/", tmp_path / "test_stop.py", "-p", "no:randomly", model="retrained")
    assert again.returncode == 2, again.stdout
    assert "so the earlier verdict in the run folder stands" in again.stdout
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "run.lock"}
    assert after == before


def test_a_run_that_loads_no_model_keeps_the_facts_of_the_run_before(run, tmp_path):
    run("audits/test_controls.py")
    before = manifest(tmp_path / "run")
    (tmp_path / "test_first.py").write_text("def test_first(audit): raise AssertionError('not today')\n")
    again = run(tmp_path / "test_first.py", "audits/test_controls.py", "-x")
    assert again.returncode == manifest(tmp_path / "run")["exit_code"], again.stdout
    after = manifest(tmp_path / "run")
    assert len(after["attempts"]) == 2
    assert after["models"] == before["models"] != {}
    assert after["format"] == FORMAT


def test_an_audit_without_the_descriptive_ordering_is_whole(run, tmp_path):
    groups = ("controls", "erasure", "adversarial", "retention")
    done = run(*(f"audits/test_{group}.py" for group in groups), model="retrained")
    assert manifest(tmp_path / "run")["whole"] is True, done.stdout
    assert manifest(tmp_path / "run")["verdict"] != "PARTIAL"


def test_the_log_goes_where_the_audit_writes_and_nowhere_else(quick, store, tmp_path):
    words = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--model=atelier:base", "--log-level=debug"]
    words += ["--target=Van Gogh", "--target=sunflowers", f"--policy={quick}", f"--store={store}", "-k", "sunflowers and nowhere"]
    processes.run([*words, f"--audit-dir={tmp_path / 'runs'}"], cwd=ROOT)
    logs = [path.relative_to(tmp_path / "runs").as_posix() for path in (tmp_path / "runs").rglob("*.log")]
    assert logs == ["sunflowers/logs/main.log"]
    log = (tmp_path / "runs" / logs[0]).read_text()
    assert all(words in log for words in ("loaded atelier:base", "opened CLIP", "threshold of"))


def test_python_refuses_the_waivers_that_pytest_refuses(quick, store, tmp_path):
    waiver = 'case = "Edvard Monch"\nreason = "r"\nowner = "o"\nexpires = 2999-01-31\n'
    (tmp_path / "waives.toml").write_text(f"{quick.read_text()}\n[[waivers]]\n{waiver}")
    with pytest.raises(dmun_audit.UsageError, match="which is no case of this audit"):
        dmun_audit.audit("atelier:noop", policy=tmp_path / "waives.toml", store=store, audit_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
