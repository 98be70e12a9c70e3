"""Tests that end without a finding: crashed workers, timeouts, reruns. None of them is evidence against a model."""

import json
import sys

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy

ROOT = processes.TESTS.parent


@pytest.fixture
def run(store, tmp_path):
    """Run a test file of one's own with a tiny policy. Returns the finished process and the manifest."""
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())

    def command(text, *options, steps=1):
        policy = coarse_policy(tmp_path / "quick.toml", **FEW_IMAGES | {"steps": steps})
        (tmp_path / "audits").mkdir(exist_ok=True)
        (tmp_path / "audits" / "test_mine.py").write_text(text)
        words = [sys.executable, "-m", "pytest", "audits", "-p", "no:cacheprovider", "--model=atelier:noop", *options]
        done = processes.run(
            [*words, f"--policy={policy}", f"--store={store if steps == 1 else tmp_path}", f"--audit-dir={tmp_path / 'run'}"],
            cwd=tmp_path,
        )
        assert (tmp_path / "run").exists(), done.stdout + done.stderr
        return done, json.loads((tmp_path / "run" / "manifest.json").read_text())

    return command


ONE = ["-k", "adversarial-prompts"]  # one control: each crash costs the start of another worker
CRASH = "import os, signal\ndef test_ours(audit, control): os.kill(os.getpid(), signal.SIGKILL)\n"
SEGFAULT = "import ctypes\ndef test_ours(audit, control): ctypes.string_at(0)\n"


@pytest.mark.parametrize(("text", "options"), [(CRASH, ["-x"]), (SEGFAULT, [])], ids=["killed, -x", "segfault"])
def test_a_crashed_worker_refutes_nothing(text, options, run):
    done, manifest = run(text, "-n", "1", *ONE, *options)
    assert (done.returncode, manifest["verdict"]) == (10, "INCOMPLETE"), done.stdout
    assert "worker 'gw0' crashed while running 'audits/test_mine.py::test_ours[" in manifest["reasons"][0]
    assert "Your test failed" not in done.stdout


@pytest.mark.parametrize("options", [["-x"], []])
def test_a_timeout_inside_of_the_audit_refutes_nothing(options, run):
    text = (
        "import pytest\n"
        "def test_that_loads_the_models(audit, control): audit.check(control)\n"
        "@pytest.mark.timeout(0.1, method='signal', func_only=True)\n"  # less than it takes to render a batch
        "def test_ours(audit, target_prompt): audit.check(target_prompt)\n"
    )
    done, manifest = run(text, "-k", "sees-the-target or a-windmill", *options, steps=3)
    assert (done.returncode, manifest["verdict"]) == (10, "INCOMPLETE"), done.stdout
    assert "Timeout (>0.1s) from pytest-timeout" in manifest["reasons"][0]
    assert "Your test failed" not in done.stdout


@pytest.mark.parametrize("wait", ["time.sleep(30)", "raise TimeoutError('the server said nothing')"])
def test_a_timeout_in_a_test_of_ones_own_refutes_nothing(wait, run):
    text = (
        "import time, pytest\n"
        "@pytest.mark.timeout(0.3, method='signal')\n"
        f"def test_licence(): {wait}\n"
        "def test_ours(audit, control): pass\n"
    )
    done, manifest = run(text, "-x")
    assert (done.returncode, manifest["verdict"]) == (10, "INCOMPLETE"), done.stdout
    assert "audits/test_mine.py::test_licence" in manifest["reasons"][0]


def test_a_timeout_that_ends_its_whole_process_refutes_nothing(run):
    text = "import time, pytest\n@pytest.mark.timeout(0.3, method='thread')\ndef test_ours(audit, control): time.sleep(30)\n"
    done, manifest = run(text, "-n", "1", "-x", *ONE)
    assert (done.returncode, manifest["verdict"]) == (10, "INCOMPLETE"), done.stdout
    assert "crashed while running" in manifest["reasons"][0]
    done, manifest = run(text)  # without workers the plugin ends pytest itself, so nothing concludes the audit
    assert (done.returncode, manifest["verdict"], manifest.get("exit_code")) == (1, "INCOMPLETE", None)
    assert manifest["reasons"] == ["The run has not finished."]


def test_a_case_whose_fixture_breaks_has_no_result_and_an_assertion_before_it_still_fails(run):
    text = (
        "import pytest\n"
        "@pytest.fixture\n"
        "def licence(): {}\n"
        "def test_ours(licence, audit, control): audit.check(control)\n"
    )  # fmt: skip
    done, manifest = run(text.format("raise OSError('no licence here')"), "-x")
    assert (done.returncode, manifest["verdict"]) == (10, "INCOMPLETE"), done.stdout
    assert "no licence here" in manifest["reasons"][0]
    done, manifest = run(text.format("assert False, 'no licence here'"), "-x")
    assert (done.returncode, manifest["verdict"]) == (1, "FAIL"), done.stdout
    assert manifest["reasons"][0].startswith("Your test failed: audits/test_mine.py::test_ours")


FLAKY = """
import os, pathlib, signal
def test_mine():
    first = pathlib.Path({mark!r})
    if not first.exists():
        first.touch()
        {end}
def test_ours(audit, control): pass
"""


@pytest.mark.parametrize(
    ("options", "end", "said"),
    [
        ([], "assert False, 'only once'", "audits/test_mine.py::test_mine: AssertionError: only once"),
        (["-n", "1"], "assert False, 'only once'", "audits/test_mine.py::test_mine: AssertionError: only once"),
        (
            ["-n", "1"],
            "os.kill(os.getpid(), signal.SIGKILL)",
            "worker 'gw0' crashed while running 'audits/test_mine.py::test_mine'",
        ),
    ],
)
def test_a_test_that_passes_when_it_is_run_again_is_told(options, end, said, run, tmp_path):
    done, manifest = run(FLAKY.format(mark=str(tmp_path / "mark"), end=end), "--reruns=1", *options)
    told = f"A test failed, and passed when it was run again: {said}"
    assert manifest["reasons"][0].startswith(told), manifest["reasons"]
    assert "1 rerun" in done.stdout
    assert told in " ".join(done.stdout.split())
    assert not any("Your test failed" in reason or "has no result" in reason for reason in manifest["reasons"])


def test_a_test_that_fails_again_counts(run):
    text = "def test_mine(): assert False, 'each time'\ndef test_ours(audit, control): pass\n"
    done, manifest = run(text, "--reruns=1", "-x")
    assert (done.returncode, manifest["verdict"]) == (1, "FAIL"), done.stdout
    assert manifest["reasons"] == ["Your test failed: audits/test_mine.py::test_mine: AssertionError: each time"]
