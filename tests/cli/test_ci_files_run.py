"""The CI files that `dmun-audit init --ci=…` writes: their lines run as a runner would run them, on a model of the atelier.

What only a runner has is replaced: a checkout is a copy, a cache is a link to the tests' store, and the packages that pip would
download are those of these tests.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from dmun_audit.cli import main

ROOT = Path(__file__).parents[2]
YOURS = "--model=models/unlearned --base=models/original"
"""What every user replaces."""

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The folder of the programs of a fresh environment that sees the packages of these tests, as after `actions/setup-python`."""
    folder = tmp_path_factory.mktemp("python") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    paths = dict.fromkeys(path for path in [sysconfig.get_path("purelib"), *sys.path] if path.endswith("site-packages"))
    (packages / "shared.pth").write_text("".join(f"{path}\n" for path in paths))
    for name, code in {
        "pytest": "from pytest import console_main as run",
        "pip": "from pip._internal.cli.main import main as run",
    }.items():
        program = folder / "bin" / name
        program.write_text(f"#!{folder}/bin/python -P\nimport sys\n{code}\nsys.exit(run())\n")
        program.chmod(0o755)
    return folder / "bin"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The repository of dmun_audit, as a checkout has it."""
    folder = tmp_path_factory.mktemp("package") / "dmun_audit"
    files = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in files.stdout.decode().split("\0"):
        if name and not name.startswith("tests/") and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    _git(folder, "init", "-q")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-qm", "all")
    return folder


def _git(folder, *arguments):
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments], cwd=folder, check=True)


def _environment(python, workspace, **more):
    """The variables of a step. pip takes what these tests have: it neither downloads nor builds in isolation."""
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH", "GITHUB_"))}
    return kept | offline | {"PATH": f"{python}{os.pathsep}{os.environ['PATH']}", "HOME": str(workspace)} | more


class GitHubJob:
    """Runs the steps of a job one by one, as GitHub's runner does: `bash -e`, and after a failure only steps with `always()`."""

    def __init__(self, workspace, store, python, package):
        self.workspace, self.store, self.package = workspace, store, package
        self.summary, self.output = workspace.parent / "summary.md", workspace.parent / "output"
        for file in (self.summary, self.output):
            file.write_text("")
        self.environment = _environment(
            python,
            workspace,
            GITHUB_ACTIONS="true",
            CI="true",
            GITHUB_WORKSPACE=str(workspace),
            GITHUB_STEP_SUMMARY=str(self.summary),
            GITHUB_OUTPUT=str(self.output),
        )
        self.failed = False
        self.uploaded = None
        self.results = {}

    def run(self, steps):
        for step in steps:
            if self._condition(step.get("if", "success()")):
                self._step(step)
            else:
                self.results[step.get("name", step.get("uses"))] = None

    def _condition(self, text):
        """The value of an expression: `always()`, `success()` and `hashFiles('…') != ''`, joined by `&&`."""
        assert re.fullmatch(r"(always\(\)|success\(\)|hashFiles\('[^']+'\) != ''|\s|&&)+", text), (
            f"{text} is new: teach it to this test"
        )
        has_status = "always()" in text
        files = re.findall(r"hashFiles\('([^']+)'\)", text)
        return (has_status or not self.failed) and all(any(self.workspace.glob(pattern)) for pattern in files)

    def _step(self, step):
        if "run" in step:
            assert "${{" not in step["run"]
            script = self.workspace.parent / "step.sh"
            script.write_text(step["run"])
            done = subprocess.run(
                ["bash", "-e", script], cwd=self.workspace, env=self.environment, capture_output=True, text=True, timeout=900
            )
            self.results[step["name"]] = done
            self.failed |= done.returncode != 0
            return
        action, given = step["uses"].partition("@")[0], step.get("with", {})
        if action == "actions/checkout" and "path" in given:
            shutil.copytree(self.package, self.workspace / given["path"])
        elif action == "actions/cache":
            assert set(re.findall(r"\$\{\{ (.*?) \}\}", given["key"])) == {"github.run_id"}
            (self.workspace / given["path"]).symlink_to(self.store)
        elif action == "actions/upload-artifact":
            self.uploaded = self.workspace / given["path"]
        elif action == "actions/setup-python":
            assert (self.workspace / given["cache-dependency-path"]).is_file()
            assert tuple(map(int, given["python-version"].split("."))) >= (3, 11)  # `requires-python` of the package
        else:
            assert action == "actions/checkout", f"{action} is new: teach it to this test"


def _workspace(folder, server):
    """A repository in which `init` has written its files, with the user's own lines filled in."""
    assert main(["init", str(folder), f"--ci={server}", "--policy=smoke"]) == 0
    return folder


def _steps(workspace, models):
    text = (workspace / ".github/workflows/audit.yml").read_text()
    assert text.count(YOURS) == 1
    return yaml.safe_load(text.replace(YOURS, models))["jobs"]["audit"]["steps"]


def test_the_workflow_for_github_shows_a_failed_audit_and_fails(tmp_path, store, python, package):
    store.mkdir(exist_ok=True)
    job = GitHubJob(_workspace(tmp_path / "repository", "github"), store, python, package)
    job.run(_steps(job.workspace, "--model=atelier:damaged --base=atelier:base"))
    install, audit, shown = (job.results[name] for name in ("Install", "Audit", "Show the result on the page of this run"))
    assert install.returncode == 0, install.stdout + install.stderr
    assert audit.returncode == 1, audit.stdout + audit.stderr
    assert "VERDICT FAIL" in audit.stdout
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert job.failed
    assert job.summary.read_text().startswith("## ❌ FAIL: Van Gogh in atelier:damaged\n")
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("::error title=FAIL%3A Van Gogh::Refuted: ")
    assert all(line.startswith("::error title=") for line in lines)
    assert {"report.html", "junit.xml", "manifest.json", "SHA256SUMS"} <= {path.name for path in job.uploaded.iterdir()}
    assert job.output.read_text() == ""


def test_the_workflow_for_github_has_one_red_step_if_the_audit_never_began(tmp_path, store, python, package):
    store.mkdir(exist_ok=True)
    job = GitHubJob(_workspace(tmp_path / "repository", "github"), store, python, package)
    job.run(_steps(job.workspace, YOURS))  # nobody has put models there
    assert job.results["Audit"].returncode == 4
    assert "models/unlearned" in job.results["Audit"].stderr + job.results["Audit"].stdout
    assert [name for name, done in job.results.items() if done and done.returncode] == ["Audit"]
    assert job.results["Show the result on the page of this run"] is None
    assert job.summary.read_text() == ""


def test_the_script_for_gitlab_fails_with_the_verdict_and_leaves_its_artifacts(tmp_path, store, python, package):
    store.mkdir(exist_ok=True)
    workspace = _workspace(tmp_path / "repository", "gitlab")
    text = (workspace / ".gitlab-ci.yml").read_text()
    assert text.count(YOURS) == 1
    job = yaml.safe_load(text.replace(YOURS, "--model=atelier:damaged --base=atelier:base"))["audit"]
    for path in job["cache"]["paths"]:
        (workspace / path).symlink_to(store) if path == ".audit-store" else (workspace / path).mkdir()
    given = {name: value.replace("$CI_PROJECT_DIR", str(workspace)) for name, value in job["variables"].items()}
    environment = _environment(python, workspace, **given | {"DMUN_AUDIT": package.as_uri(), "CI": "true"})
    script = "set -eo pipefail\n" + "".join(f"{line}\n" for line in job["script"])
    done = subprocess.run(["bash", "-c", script], cwd=workspace, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "VERDICT FAIL" in done.stdout
    assert all((workspace / path).is_dir() for path in job["artifacts"]["paths"])
    assert (workspace / job["artifacts"]["reports"]["junit"]).is_file()
