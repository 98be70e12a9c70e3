"""Audits in a store of MLflow on this machine, read back with MLflow's own client."""

import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import dmun_audit
from dmun_audit._util.errors import UsageError
from dmun_audit.cli import main
from dmun_audit.evidence.run import read_run
from dmun_audit.tracking.logged_audit import logged_audit
from dmun_audit.tracking.trackers import track, tracking_line

pytest.importorskip("mlflow")
pytestmark = pytest.mark.slow


@pytest.fixture
def run(example):
    return read_run(example)


@pytest.fixture
def client(tmp_path, monkeypatch):
    """MLflow's client of an empty store of files."""
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def runs_in(client, project):
    return client.search_runs([client.get_experiment_by_name(project).experiment_id])


def test_a_run_holds_what_the_audit_holds(client, run, tmp_path):
    tracked = track(run, "mlflow", "erasers")
    (found,) = runs_in(client, "erasers")
    audit = logged_audit(run)
    assert (tracked.run_id, tracked.status, tracked.project) == (found.info.run_id, "new", "erasers")
    assert found.data.params == dict(audit.parameters)
    assert found.data.metrics == dict(audit.metrics)
    assert found.info.run_name == "Van Gogh in outputs/uce-van-gogh.safetensors"
    assert found.info.status == "FINISHED"
    tags = {name.removeprefix("dmun_audit."): value for name, value in found.data.tags.items()}
    assert {name: tags[name] for name in audit.tags} == dict(audit.tags)
    assert tags["mlflow.note.content"].startswith("## ❌ FAIL: Van Gogh in outputs/uce-van-gogh.safetensors\n")
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"manifest.json", "evidence.jsonl"}
    (tmp_path / "back").mkdir()
    for name in ("manifest.json", "evidence.jsonl"):
        path = client.download_artifacts(found.info.run_id, name, str(tmp_path / "back"))
        assert Path(path).read_bytes() == (run.path / name).read_bytes()


def test_the_same_folder_twice_is_one_run_and_other_evidence_updates_it(client, run):
    first, second = track(run, "mlflow"), track(run, "mlflow")
    assert (first.status, second.status, second.run_id) == ("new", "there already", first.run_id)
    longer = replace(run, cases=run.cases[:-1], digest="other evidence")
    third = track(longer, "mlflow")
    assert (third.status, third.run_id) == ("updated", first.run_id)
    (found,) = runs_in(client, "dmun_audit")
    assert found.data.metrics["cases"] == len(run.cases) - 1
    assert found.info.status == "FINISHED"
    assert track(longer, "mlflow").status == "there already"


def test_a_logging_that_was_cut_off_is_completed(client, run, monkeypatch):
    from mlflow.tracking import MlflowClient

    def fail(*given):
        raise ConnectionError("the network went away")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_artifacts", fail)
        with pytest.raises(UsageError, match="the network went away"):
            track(run, "mlflow")
    assert track(run, "mlflow").status == "updated"
    (found,) = runs_in(client, "dmun_audit")
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"manifest.json", "evidence.jsonl"}


def test_another_audit_is_another_run_and_a_deleted_one_is_made_anew(client, run):
    other = replace(run, manifest=run.manifest.model_copy(update={"audit_hash": "another"}))
    first = track(run, "mlflow")
    assert track(other, "mlflow").run_id != first.run_id
    client.delete_run(first.run_id)
    again = track(run, "mlflow")
    assert (again.status, again.run_id == first.run_id) == ("new", False)


def test_the_command_and_the_functions_say_where_the_run_is(client, example, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from the variable")
    copy = tmp_path / "copy"
    shutil.copytree(example, copy)
    manifest = json.loads((copy / "manifest.json").read_text()) | {"format": 2}  # an earlier format has no SHA256SUMS
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert main(["track", str(copy), "--to=mlflow"]) == 0
    said = capsys.readouterr()
    (found,) = runs_in(client, "from the variable")
    assert said.out == f"{copy}: logged to MLflow: run {found.info.run_id} of from the variable, {client.tracking_uri}\n"
    assert said.err == ""
    for given in (copy, str(copy), dmun_audit.load_run(copy)):
        tracked = dmun_audit.log_to_mlflow(given)
        assert (tracked.status, tracked.run_id) == ("there already", found.info.run_id)
    assert dmun_audit.log_to_mlflow(copy, "elsewhere").status == "new"


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that answers every request in the same way."""

    def do_GET(self):
        code, body = self.server.answer
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *given):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def refused(client, run, monkeypatch):
    """Logs to a place that does not take the audit. Returns the error."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")

    def log(place):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
        with pytest.raises(UsageError) as raised:
            track(run, "mlflow")
        return raised.value

    return log


def test_a_server_that_is_not_there_is_one_error_without_the_password(refused):
    error = refused("http://me:secret@127.0.0.1:9")
    assert "Connection refused" in error.why  # the end of what MLflow says
    assert "127.0.0.1" in str(error)
    assert "secret" not in str(error)
    assert error.remedy.startswith("check that the MLflow server in MLFLOW_TRACKING_URI is up and can be reached, and repeat")


@pytest.mark.parametrize(
    ("code", "body", "remedy"),
    [
        (
            401,
            b"<html>who?</html>",
            "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, and repeat",
        ),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', "ask for the right to write to this experiment, or name"),
        (404, b"<html>what?</html>", "check that MLFLOW_TRACKING_URI is the address of an MLflow server, and repeat"),
    ],
)
def test_the_advice_follows_what_the_server_answers(code, body, remedy, server, refused):
    server.answer = code, body
    error = refused(f"http://127.0.0.1:{server.server_address[1]}")
    assert error.remedy.startswith(remedy)
    assert "\n" not in error.why


def test_a_folder_needs_a_variable_which_mlflow_names_at_the_end(refused, tmp_path):
    for place in ((tmp_path / "other").as_uri(), str(tmp_path / "other")):
        error = refused(place)
        assert "set `MLFLOW_ALLOW_FILE_STORE=true`" in error.why
        assert error.remedy.startswith("set MLFLOW_ALLOW_FILE_STORE=true, or MLFLOW_TRACKING_URI to the address")


def test_a_folder_that_cannot_be_written_is_named(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    (tmp_path / "file").write_text("")
    error = refused((tmp_path / "file" / "mlruns").as_uri())
    assert str(tmp_path / "file") in error.why
    assert error.remedy.startswith("check that the folder in MLFLOW_TRACKING_URI can be written, and repeat")


@pytest.mark.skipif(importlib.util.find_spec("sqlalchemy") is not None, reason="the whole package mlflow makes a database then")
def test_without_a_tracking_uri_the_error_says_so(example, tmp_path):
    """In a process of its own: MLflow keeps the place that it has found first."""
    shutil.copytree(example, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text()) | {"format": 2}
    (tmp_path / "copy/manifest.json").write_text(json.dumps(manifest))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "dmun_audit", "track", "copy", "--to=mlflow"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 4, done.stdout
    what, why, remedy = done.stderr.splitlines()
    assert what == "ERROR: MLflow did not take copy"
    assert why.startswith("  why:  MLFLOW_TRACKING_URI is not set, so MLflow chose ")
    assert remedy == "  do:   set MLFLOW_TRACKING_URI to the address of your MLflow server, and repeat: no audit is logged twice"


@pytest.mark.skipif(importlib.util.find_spec("sqlalchemy") is not None, reason="the whole package mlflow opens databases")
def test_a_database_needs_the_whole_package(refused):
    assert refused("sqlite:///mlflow.db").remedy.startswith("pip install mlflow, which opens databases, or set")


def test_a_scheme_that_mlflow_does_not_know_gets_an_example(refused):
    error = refused("bogus://somewhere")
    assert "bogus://somewhere" in error.why
    assert "such as https://mlflow.example.com, and repeat" in error.remedy


def test_the_last_line_of_an_audit_has_the_advice(refused, run, tmp_path):
    refused((tmp_path / "other").as_uri())
    line = tracking_line(run, "mlflow")
    assert "\n" not in line
    assert "To log it, set MLFLOW_ALLOW_FILE_STORE=true, or " in line
