"""Real audits of the atelier, through `pytest audits/` in a process of its own: nothing is replaced by a stand-in."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import processes
import pytest
from coarse import coarse_policy
from safetensors.numpy import load_file, save_file

from dmun_audit.decisions.checked_run import checked_run

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "dmun_audit" / "atelier" / "weights"


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The smoke policy with two steps an image: too coarse to judge anything, quick enough to follow the machinery."""
    return coarse_policy(tmp_path_factory.mktemp("policy") / "quick.toml", steps=2)


def audit(*arguments, where=ROOT, tests="audits/"):
    """Run an audit to its end. The verdict that it leaves follows from its files, whatever it is."""
    command = [sys.executable, "-m", "pytest", str(tests), "-p", "no:cacheprovider", *map(str, arguments)]
    done = processes.run(command, cwd=where)
    for folder in [Path(argument.removeprefix("--audit-dir=")) for argument in map(str, arguments) if "--audit-dir" in argument]:
        if (folder / "manifest.json").exists():
            assert checked_run(folder).contradictions == ()
    return done


def evidence(folder):
    records = [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]
    return {record["case_id"]: {k: v for k, v in record.items() if k != "volatile"} for record in records}


def verdicts(folder, group, pooled=None):
    found = evidence(folder).values()
    return [r["verdict"] for r in found if r["group"] == group and pooled in (None, r["pooled"])]


@pytest.mark.parametrize("model", ["base", "noop"])
def test_a_model_that_was_not_erased_fails_erasure_and_keeps_its_neighbours(model, store, tmp_path):
    run = audit(f"--model=atelier:{model}", "--policy=smoke", f"--store={store}", f"--audit-dir={tmp_path / 'run'}")
    assert run.returncode == 1, run.stdout
    assert "VERDICT FAIL" in run.stdout
    assert verdicts(tmp_path / "run", "erasure", pooled=True) == ["FAIL"]
    assert verdicts(tmp_path / "run", "adversarial", pooled=True) == ["FAIL"]
    assert not {"FAIL", "INCONCLUSIVE"} & set(verdicts(tmp_path / "run", "retention"))
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["models"]["base"]["weights_digest"] == manifest["models"]["candidate"]["weights_digest"]
    assert manifest["warnings"]


def test_a_stopped_audit_says_that_the_same_command_goes_on(quick, store, tmp_path):
    run = audit("--model=atelier:noop", f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}", "-x")
    assert "the same command without -x or --maxfail goes on from here" in run.stdout, run.stdout


def test_tests_without_cases_are_counted_as_deselected(quick, store, tmp_path):
    run = audit(
        "--model=atelier:noop", f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}", "--collect-only", "-q"
    )
    assert re.search(r"(\d+)/(\d+) tests collected \((\d+) deselected\)", run.stdout), run.stdout


def test_short_options_without_their_conftest_are_told_where_it_comes_from(tmp_path):
    (tmp_path / "test_mine.py").write_text("def test_mine(): pass")
    run = audit("--model=x", where=tmp_path, tests="test_mine.py")
    assert run.returncode == 4
    assert "`dmun-audit init` writes" in run.stderr
    other = audit("--modle=x", where=tmp_path, tests="test_mine.py")
    assert "dmun-audit" not in other.stderr


def test_a_path_that_is_not_there_is_told_before_its_base_is_asked_for():
    run = audit("--model=nope/path", "--target=Van Gogh")
    assert run.returncode == 4
    assert "--model=nope/path is no file or folder here" in run.stdout + run.stderr


def test_a_damaged_model_fails_retention(store, tmp_path):
    run = audit("--model=atelier:damaged", "--policy=smoke", f"--store={store}", f"--audit-dir={tmp_path / 'run'}")
    assert run.returncode == 1, run.stdout
    assert verdicts(tmp_path / "run", "retention", pooled=True) == ["FAIL"]
    assert "the judge recognises only the base image" in " ".join(run.stdout.split())


def test_two_workers_leave_the_evidence_of_none_and_a_rerun_renders_nothing(quick, store, tmp_path):
    folders = {}
    for workers in ("0", "2"):
        folders[workers] = tmp_path / f"run{workers}"
        own = store if workers == "0" else tmp_path / workers
        audit(f"--policy={quick}", f"--store={own}", f"--audit-dir={folders[workers]}", "-n", workers)
    assert evidence(folders["0"]) == evidence(folders["2"])
    assert len(evidence(folders["0"])) > 30
    written = (folders["2"] / "evidence.jsonl").read_text()
    audit(f"--policy={quick}", f"--store={tmp_path / '2'}", f"--audit-dir={folders['2']}")
    assert json.loads((folders["2"] / "manifest.json").read_text())["images"]["rendered"] == 0
    assert evidence(folders["0"]) == evidence(folders["2"])
    assert (folders["2"] / "evidence.jsonl").read_text() == written


def test_a_subset_is_partial_and_never_passes(quick, store, tmp_path):
    run = audit(f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}", "-k", "nearby and seurat")
    assert "VERDICT PASS" not in run.stdout
    assert run.returncode in {1, 11}, run.stdout


def test_junitxml_of_pytest_lists_pooled_claims(quick, store, tmp_path):
    audit(f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}", f"--junitxml={tmp_path / 'p.xml'}")
    assert "pooled[" in (tmp_path / "p.xml").read_text()
    import xmlschema

    xmlschema.validate(str(tmp_path / "run" / "junit.xml"), str(ROOT / "tests" / "report" / "junit-10.xsd"))


def _audits_of_ones_own(folder, text):
    (folder / "audits").mkdir()
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (folder / "audits" / "test_mine.py").write_text(text)
    return folder / "audits"


def test_a_test_of_ones_own_joins_the_plan(quick, store, tmp_path):
    tests = _audits_of_ones_own(
        tmp_path,
        "def test_ours(audit, nearby):\n"
        "    record = audit.check(nearby)\n"
        "    assert record['measures']['clip_score_candidate'] > 2\n",
    )
    run = audit(f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}", where=tmp_path, tests=tests)
    assert run.returncode == 1, run.stdout
    assert "Your test failed" in run.stdout


class _RunsCode:
    def __reduce__(self):
        return (Path.touch, (Path("pickle-was-run"),))


def _foreign_keys(path):
    tensors = load_file(WEIGHTS / "noop.safetensors")
    save_file({f"some.other.{name}": value for name, value in tensors.items()}, path)


def _truncated(path):
    path.write_bytes((WEIGHTS / "noop.safetensors").read_bytes()[:5000])


@pytest.mark.parametrize(
    ("name", "write", "culprit"),
    [
        ("foreign.safetensors", _foreign_keys, "some.other"),
        ("truncated.safetensors", _truncated, "truncated.safetensors"),
        ("evil.pt", lambda path: path.write_bytes(pickle.dumps(_RunsCode())), "evil.pt"),
        ("missing.safetensors", lambda path: None, "missing.safetensors"),
    ],
)
def test_bad_weights_give_one_clear_error_before_any_image(name, write, culprit, tmp_path):
    write(tmp_path / name)
    run = audit(f"--model={tmp_path / name}", "--base=atelier:base", "--target=Van Gogh", f"--store={tmp_path / 's'}")
    said = run.stdout + run.stderr
    assert run.returncode == 4, said
    assert culprit in said
    assert "Traceback" not in said
    assert not (tmp_path / "s").exists()
    assert not (ROOT / "pickle-was-run").exists()


@pytest.mark.parametrize(
    ("option", "culprit"),
    [
        ("--target=Van Gough", "did you mean 'Van Gogh'"),
        ("--model=atelier:retraned", "did you mean atelier:retrained"),
        ("--policy=nowhere.toml", "nowhere.toml"),
        ("--knowledge=nowhere.json", "nowhere.json"),
    ],
)
def test_bad_options_name_the_culprit(option, culprit, tmp_path):
    run = audit(option, f"--store={tmp_path / 's'}", "--collect-only")
    assert run.returncode == 4
    assert culprit in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_a_misspelt_policy_key_is_named(tmp_path):
    text = (ROOT / "dmun_audit" / "policy" / "built_in" / "smoke.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("minimum_valid", "minimum_vaild"))
    run = audit(f"--policy={tmp_path / 'mine.toml'}", f"--store={tmp_path / 's'}")
    said = run.stdout + run.stderr
    assert run.returncode == 4, said
    assert "minimum_vaild" in said
    assert "Traceback" not in said
    assert not (tmp_path / "s").exists()


def test_collecting_is_quick_and_loads_no_torch():
    script = (
        "import sys, pytest; code = pytest.main(['audits/', '--collect-only', '-q', '-p', 'no:cacheprovider']);"
        "print('heavy:', sorted({'torch', 'diffusers', 'transformers', 'open_clip'} & set(sys.modules))); sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "heavy: []" in run.stdout


def test_tests_without_our_fixtures_do_not_notice_us(tmp_path):
    loaded = "{name for name in sys.modules if name.startswith('dmun_audit.')} <= {'dmun_audit.plugin', 'dmun_audit.pytest_plugin', 'dmun_audit.pytest_plugin.session', 'dmun_audit.pytest_plugin.discovery', 'dmun_audit._util', 'dmun_audit._util.workflow_commands', 'dmun_audit._util.errors'}"
    (tmp_path / "test_plain.py").write_text(f"import sys\ndef test_it(): assert {loaded}\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tmp_path]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)  # a process that has imported nothing
    assert run.returncode == 0, run.stdout
    assert "dmun_audit:" not in run.stdout


@pytest.mark.parametrize("option", ["--target=", "--model=", "--policy= ", "--knowledge=", "--judge=", "--store="])
def test_an_empty_option_is_refused_and_no_default_is_audited(option, tmp_path):
    run = audit(option, f"--audit-dir={tmp_path / 'run'}", "--collect-only")
    assert run.returncode == 4
    assert f"{option.partition('=')[0]} is empty" in run.stdout + run.stderr


def test_a_fixture_or_parameter_of_ones_own_with_our_names_stays_ones_own(tmp_path):
    (tmp_path / "test_plain.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def control(): return 7\n"
        "def test_fixture(control): assert control == 7\n"
        "@pytest.mark.parametrize('nearby', [1, 2])\n"
        "def test_parameter(nearby): assert nearby in (1, 2)\n"
    )
    run = audit(where=tmp_path, tests=tmp_path)
    assert run.returncode == 0, run.stdout
    assert "3 passed" in run.stdout


def test_a_test_of_ones_own_that_breaks_before_it_looks_fails_the_audit_and_says_why(quick, store, tmp_path):
    tests = _audits_of_ones_own(
        tmp_path,
        "import pytest\n"
        "@pytest.fixture\n"
        "def licence(): raise OSError('no licence here')\n"
        "def test_ours(audit, ordering): audit.check(ordering)\n"
        "def test_paper(licence): pass\n",
    )
    run = audit(f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}", where=tmp_path, tests=tests)
    assert run.returncode == 1, run.stdout
    reasons = json.loads((tmp_path / "run" / "manifest.json").read_text())["reasons"]
    assert any("test_paper" in reason and "no licence here" in reason for reason in reasons), reasons


def test_an_audit_that_breaks_itself_is_incomplete_and_blames_no_model(quick, store, tmp_path):
    """What goes wrong inside of the audit is no finding: here a judge's file vanishes while the audit runs."""
    breaking = tmp_path / "breaking.py"
    breaking.write_text(
        "from dmun_audit.runtime.runner import AuditRunner\n"
        "def broken(self, case):\n    raise RuntimeError('something is amiss in here')\n"
        "AuditRunner.record = broken\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "audits/",
        "-p",
        "breaking",
        f"--policy={quick}",
        f"--audit-dir={tmp_path / 'run'}",
    ]
    run = processes.run([*command, f"--store={store}"], cwd=ROOT, env=environment)
    assert run.returncode == 10, run.stdout
    assert "VERDICT INCOMPLETE" in run.stdout
    assert "something is amiss in here" in run.stdout


def test_stopping_at_the_first_failure_keeps_the_audits_exit_code_with_workers(quick, store, tmp_path):
    run = audit(
        "--model=atelier:noop", f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}", "-x", "-n", "2",
        "-k", "erasure",
    )  # fmt: skip
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert run.returncode == manifest["exit_code"], run.stdout
    assert run.returncode in {1, 11}, run.stdout


def test_a_subset_leaves_the_conclusion_of_the_whole_plan_alone(store, tmp_path):
    options = ["--model=atelier:noop", "--policy=smoke", f"--store={store}", f"--audit-dir={tmp_path / 'run'}"]
    assert audit(*options).returncode == 1
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    run = audit(*options, "-k", "nearby and seurat")
    assert run.returncode == 11, run.stdout
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before
    assert json.loads((tmp_path / "run-partial" / "manifest.json").read_text())["verdict"] == "PARTIAL"
    assert "run-partial" in run.stdout


def test_a_store_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    run = audit(f"--store={tmp_path / 'file'}", f"--audit-dir={tmp_path / 'run'}")
    assert run.returncode == 4, run.stdout
    assert "cannot write to" in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
