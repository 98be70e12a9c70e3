"""The CI files that `dmun-audit init --ci=…` writes: their lines run as a runner would run them, on a model of the atelier.

What only a runner has is replaced: a checkout is a copy, a cache is a link to the tests' store, the packages that pip would download
are those of these tests, `gh` is a program that knows one run, and GitLab's package registry is a server of this file.
"""

import http.server
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import threading
from pathlib import Path

import pytest
import yaml
from github_runner import ACTION, GitHubJob, environment_of

from dmun_audit.cli import main
from dmun_audit.decisions.checked_run import checked_run

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


SHOW = "Show the result on the page of this run"
FETCH = "Fetch the last audit that passed"


def _workspace(folder, server):
    """A repository in which `init` has written its files."""
    assert main(["init", str(folder), f"--ci={server}", "--policy=smoke"]) == 0
    return folder


def _steps(workspace, **yours):
    """The steps of the workflow, with the user's own lines filled in."""
    text = (workspace / ".github/workflows/audit.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["audit"]["steps"]
    (audit,) = (step for step in steps if step.get("uses") == ACTION)
    for name, value in yours.items():
        assert f"{name}: {audit['with'][name]}  # yours\n" in text
        audit["with"][name] = value
    return steps


def _job(folder, store, python, package, artifacts=None):
    store.mkdir(exist_ok=True)
    return GitHubJob(_workspace(folder / "repository", "github"), store, python, package, artifacts)


@pytest.fixture(scope="module")
def first_job(tmp_path_factory, store, python, package):
    """The workflow for GitHub of a damaged model, before any audit has passed."""
    job = _job(tmp_path_factory.mktemp("first"), store, python, package)
    job.run(_steps(job.workspace, model="atelier:damaged", base="atelier:base"))
    return job


def test_the_workflow_for_github_shows_a_failed_audit_and_fails(first_job):
    job = first_job
    install, fetch, audit, shown = (job.results[name] for name in ("Install", FETCH, "Audit", SHOW))
    assert install.returncode == 0, install.stdout + install.stderr
    assert fetch.stdout == "No audit has passed on main yet, so there is no baseline.\n", fetch.stderr
    assert audit.returncode == 1, audit.stdout + audit.stderr
    assert "VERDICT FAIL" in audit.stdout
    assert not (job.uploaded / "baseline.json").exists()
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert job.failed
    assert job.summary.read_text().startswith("## ❌ FAIL: Van Gogh in atelier:damaged\n")
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("::error title=FAIL%3A Van Gogh::Refuted: ")
    assert all(line.startswith("::error title=") for line in lines)
    assert {"report.html", "junit.xml", "manifest.json", "SHA256SUMS"} <= {path.name for path in job.uploaded.iterdir()}
    assert job.outputs == {
        "verdict": "FAIL",
        "release-evidence": "false",
        "exit-code": "1",
        "report": "audit-run/report.html",
    }
    assert job.saved == {"path": ".audit-store", "key": "audit-store-audit-7-1"}


def test_what_a_workflow_writes_is_left_out_of_git(first_job):
    _git(first_job.workspace, "init", "-q")
    seen = subprocess.run(
        ["git", "status", "--porcelain", "-uall", "--", "audit-run", "audit-runs", "audit-baseline"],
        cwd=first_job.workspace,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (first_job.workspace / "audit-run/manifest.json").is_file()
    assert seen.stdout == ""


def test_the_workflow_for_github_compares_with_the_last_audit_that_passed(first_job, tmp_path, store, python, package):
    job = _job(tmp_path, store, python, package, {"41": first_job.uploaded, "40": None})
    job.run(_steps(job.workspace, model="atelier:damaged", base="atelier:base"))
    audit = job.results["Audit"]
    assert job.results[FETCH].returncode == 0, job.results[FETCH].stderr
    assert "baseline atelier:damaged (run " in audit.stdout, audit.stdout + audit.stderr
    assert (job.uploaded / "baseline.json").is_file()
    assert "| baseline | " in job.summary.read_text()
    assert job.outputs["verdict"] == "FAIL"


def test_a_baseline_is_left_out_on_demand_or_with_a_warning_if_its_artifact_has_gone(tmp_path, python, package):
    for name, artifacts, inputs, said in (
        ("on demand", {"41": package}, {"without_baseline": "true"}, ""),
        ("gone", {"41": None}, {}, "::warning::The artifact of run 41 cannot be fetched. This audit has no baseline.\n"),
    ):
        (tmp_path / name).mkdir()
        job = _job(tmp_path / name, tmp_path / "store", python, package, artifacts)
        steps = _steps(job.workspace)
        job.run([step for step in steps if step.get("id") == "last"], **inputs)
        done = job.results[FETCH]
        assert (done.returncode, done.stdout) == (0, said), done.stderr
        assert job.output.read_text() == ""
        assert not (job.workspace / "audit-baseline").exists()


def test_the_workflow_for_github_has_one_red_step_if_the_audit_never_began(first_job, tmp_path, store, python, package):
    job = _job(tmp_path, store, python, package)
    shutil.copytree(first_job.uploaded, job.workspace / "audit-run")  # of another audit
    hostile = """models/$(touch hacked)`touch hacked`"; touch hacked; '; touch hacked #"""
    job.run(_steps(job.workspace, model=hostile))  # nobody has put models there
    said = job.results["Audit"].stderr + job.results["Audit"].stdout
    assert job.results["Audit"].returncode == 4, said
    assert "models/$(touch hacked)" in said
    assert not (job.workspace / "hacked").exists()
    assert [name for name, done in job.results.items() if done and done.returncode] == ["Audit"]
    assert job.results[SHOW] is None
    assert job.summary.read_text() == ""
    assert job.outputs == {"verdict": "", "release-evidence": "false", "exit-code": "4", "report": ""}
    assert job.saved


@pytest.mark.parametrize(
    ("code", "verdict", "outputs"),
    [
        (0, "PASS", {"verdict": "PASS", "exit-code": "0", "report": "audit-run/report.html"}),
        (1, "FAIL", {"verdict": "FAIL", "exit-code": "1", "report": "audit-run/report.html"}),
        (1, "PASS", {"verdict": "", "exit-code": "1", "report": "audit-run/report.html"}),
        (1, "", {"verdict": "", "exit-code": "1", "report": ""}),
        (1, "no JSON", {"verdict": "", "exit-code": "1", "report": "audit-run/report.html"}),
        (4, "", {"verdict": "", "exit-code": "4", "report": ""}),
    ],
)
@pytest.mark.parametrize("earlier", ["PASS", None])
def test_the_action_shows_only_what_its_own_audit_wrote(code, verdict, outputs, earlier, tmp_path, python, package):
    """A program that writes the manifest of a case and ends with its code is in place of pytest."""
    job = _job(tmp_path, tmp_path / "store", python, package)
    manifest = job.workspace / "audit-run/manifest.json"
    manifest.parent.mkdir()
    if earlier:
        manifest.write_text(json.dumps({"verdict": earlier, "attempts": 1}))
    written = (
        verdict if verdict == "no JSON" else json.dumps({"verdict": verdict, "attempts": 2, "policy": {"release_evidence": True}})
    )
    write = f"echo '{written}' > audit-run/manifest.json\n" if verdict else ""
    program = tmp_path / "programs/pytest"
    program.write_text(f"#!/bin/sh\n{write}exit {code}\n")
    program.chmod(0o755)
    (tmp_path / "programs/dmun-audit").write_text("#!/bin/sh\necho shown\n")
    (tmp_path / "programs/dmun-audit").chmod(0o755)
    job.run([step for step in _steps(job.workspace) if step.get("uses") == ACTION])
    evidence = "true" if outputs["verdict"] == "PASS" else "false"
    assert job.outputs == outputs | {"release-evidence": evidence}, job.results["Audit"].stderr
    assert job.results["Audit"].returncode == code
    assert (job.results[SHOW] is not None) == bool(outputs["report"])


class Registry(http.server.BaseHTTPRequestHandler):
    """GitLab's registry of packages for one file: whoever shows the job's token may replace it, and is sent to the storage to fetch it."""

    def do_GET(self):
        if self.path.startswith("/storage/"):
            self._give(self.path.removeprefix("/storage"))
        elif self.headers["JOB-TOKEN"] != "t":
            self._answer(403)
        elif self.path in self.server.files:
            self._answer(302, Location=f"http://localhost:{self.server.server_address[1]}/storage{self.path}")
        else:
            self._answer(404)

    def _give(self, path):
        """The storage is another server: it refuses whoever shows it a token."""
        shown = [self.headers[name] for name in ("JOB-TOKEN", "Authorization") if name in self.headers]
        if shown or not self.server.files[path]:
            self._answer(400 if shown else 404)
        else:
            self._answer(200, self.server.files[path])

    def _answer(self, code, body=b"{}", **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        taken = self.headers["JOB-TOKEN"] == "t"
        if taken:
            self.server.files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201 if taken else 403)
        self.end_headers()

    def log_message(self, *given):
        pass


@pytest.fixture
def registry():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        server.files = {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


KEPT = "/api/v4/projects/3/packages/generic/audit/last-pass/audit-run.tar.gz"
ANSWERED = f"{KEPT} answered with 403.\n"


def _gitlab_job(workspace, model="atelier:damaged"):
    """The job for GitLab, with the user's own lines filled in."""
    text = (workspace / ".gitlab-ci.yml").read_text()
    assert text.count(YOURS) == 1
    return yaml.safe_load(text.replace(YOURS, f"--model={model} --base=atelier:base"))["audit"]


def _gitlab(workspace, model, store, python, package, registry, **more):
    """Run the script of the job for GitLab, as its runner does. Returns the job and the finished process."""
    job = _gitlab_job(workspace, model)
    for path in job["cache"]["paths"]:
        (workspace / path).symlink_to(store) if path == ".audit-store" else (workspace / path).mkdir()
    known = {
        "CI_PROJECT_DIR": str(workspace),
        "CI_PROJECT_ID": "3",
        "CI_API_V4_URL": f"http://127.0.0.1:{registry.server_address[1]}/api/v4",
        "CI_JOB_TOKEN": "t",
        "CI_COMMIT_BRANCH": "main",
        "CI_DEFAULT_BRANCH": "main",
        "CI": "true",
    }
    given = {name: re.sub(r"\$(\w+)", lambda match: known[match[1]], value) for name, value in job["variables"].items()}
    environment = environment_of(python, workspace, **known | given | {"DMUN_AUDIT": package.as_uri()} | more)
    script = "set -eo pipefail\n" + "".join(f"{line}\n" for line in job["script"])
    done = subprocess.run(["bash", "-c", script], cwd=workspace, env=environment, capture_output=True, text=True, timeout=900)
    return job, done


def _packed(folder):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(folder, ".")
    return file.getvalue()


def test_the_script_for_gitlab_fails_with_the_verdict_and_leaves_its_artifacts(
    first_job, tmp_path, store, python, package, registry
):
    workspace, before = _workspace(tmp_path / "repository", "gitlab"), _packed(first_job.uploaded)
    registry.files[KEPT] = before
    job, done = _gitlab(workspace, "atelier:damaged", store, python, package, registry)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "baseline atelier:damaged (run " in done.stdout
    assert "VERDICT FAIL" in done.stdout
    assert all((workspace / path).is_dir() for path in job["artifacts"]["paths"])
    assert (workspace / job["artifacts"]["reports"]["junit"]).is_file()
    assert (workspace / "audit-run/baseline.json").is_file()
    assert registry.files[KEPT] == before  # only a PASS becomes the next baseline


def test_the_script_for_gitlab_keeps_a_pass_of_the_default_branch_as_the_next_baseline(
    tmp_path, store, python, package, registry
):
    store.mkdir(exist_ok=True)
    _job, done = _gitlab(_workspace(tmp_path / "repository", "gitlab"), "atelier:uce-van-gogh", store, python, package, registry)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No audit has passed on main yet, so there is no baseline." in done.stdout
    with tarfile.open(fileobj=io.BytesIO(registry.files[KEPT])) as archive:
        archive.extractall(tmp_path / "kept", filter="data")
    assert checked_run(tmp_path / "kept").verdict == "PASS"
    assert checked_run(tmp_path / "kept").contradictions == ()


def test_the_script_for_gitlab_fails_before_the_audit_if_the_registry_refuses(tmp_path, store, python, package, registry):
    store.mkdir(exist_ok=True)
    workspace = _workspace(tmp_path / "repository", "gitlab")
    _job, done = _gitlab(workspace, "atelier:damaged", store, python, package, registry, CI_JOB_TOKEN="other")
    assert done.returncode == 1
    assert done.stderr.endswith(ANSWERED)
    assert not (workspace / "audit-run").exists()


def _lines_about_the_baseline(workspace, registry, token):
    """Run the lines of the job for GitLab that fetch the last audit that passed. Returns the finished process."""
    (script,) = (line for line in _gitlab_job(workspace)["script"] if "BASELINE=audit-baseline" in line)
    where = f"http://127.0.0.1:{registry.server_address[1]}{KEPT}"
    known = {"CI_JOB_TOKEN": token, "LAST_PASS": where, "CI_DEFAULT_BRANCH": "main", "WITHOUT_BASELINE": "false"}
    command = ["bash", "-c", f"set -eo pipefail\n{script}"]
    return subprocess.run(command, cwd=workspace, env=os.environ | known, capture_output=True, text=True, timeout=60)


def test_the_script_for_gitlab_follows_a_redirect_without_the_token(tmp_path, registry):
    workspace = _workspace(tmp_path / "repository", "gitlab")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "manifest.json").write_text("{}")
    done = _lines_about_the_baseline(workspace, registry, "t")
    assert (done.returncode, done.stdout) == (0, "No audit has passed on main yet, so there is no baseline.\n"), done.stderr
    registry.files[KEPT] = _packed(kept)
    done = _lines_about_the_baseline(workspace, registry, "other")
    assert (done.returncode, done.stderr[-len(ANSWERED) :]) == (1, ANSWERED)
    assert not (workspace / "audit-baseline").exists()
    done = _lines_about_the_baseline(workspace, registry, "t")
    assert done.returncode == 0, done.stderr
    assert (workspace / "audit-baseline/manifest.json").read_text() == "{}"
    registry.files[KEPT] = b""  # the registry knows a file that its storage has lost
    done = _lines_about_the_baseline(workspace, registry, "t")
    assert done.returncode != 0
    assert "404" in done.stderr


def test_the_script_for_jenkins_names_the_last_pass_only_if_there_is_one(tmp_path):
    """Groovy does not run here: the lines of the two scripts run with a program that prints its options in place of pytest."""
    workspace = _workspace(tmp_path / "repository", "jenkins")
    scripts = [
        script.replace("\\\n", "")
        for script in re.findall(r"sh \'\'\'(.*?)\'\'\'", (workspace / "Jenkinsfile").read_text(), re.DOTALL)
    ]
    audit, keep = scripts
    program = workspace / ".venv/bin/pytest"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nmkdir -p audit-run\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"LAST_PASS": str(tmp_path / "last pass"), "STORE": str(tmp_path / "store")}

    def options(**more):
        done = subprocess.run(["sh", "-xe", "-c", audit], cwd=workspace, env=environment | more, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    without = ["audits/", "-n", "2", "--target=Van Gogh", *YOURS.split(), "--policy=audit-policy.toml"]
    without += [f"--store={tmp_path / 'store'}", "--audit-dir=audit-run"]
    assert options() == without
    for number in ("1", "2"):  # the second one replaces the first one
        (workspace / "audit-run/manifest.json").write_text(number)
        subprocess.run(["sh", "-xe", "-c", keep], cwd=workspace, env=environment, check=True, capture_output=True)
        assert [path.name for path in (tmp_path / "last pass").iterdir()] == ["manifest.json"]
        assert (tmp_path / "last pass/manifest.json").read_text() == number
    assert options() == [*without, f"--baseline={tmp_path / 'last pass'}"]
    assert options(WITHOUT_BASELINE="true") == without


def test_the_pipeline_for_jenkins_runs_alone_and_shows_the_error_of_an_audit_that_never_began(tmp_path):
    """Groovy does not run here: its lines are read."""
    text = (_workspace(tmp_path / "repository", "jenkins") / "Jenkinsfile").read_text()
    code = re.sub(r"\s+//.*", "", text)
    (options,) = re.findall(r"^  options \{(.*?)^  \}", code, re.DOTALL | re.MULTILINE)
    assert "disableConcurrentBuilds()" in options.split()
    assert re.findall(r"^ *junit (.*)", code, re.MULTILINE) == ["testResults: 'audit-run/junit.xml', allowEmptyResults: true"]
