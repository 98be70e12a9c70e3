"""Audits in a store of MLflow on this machine, read back with MLflow's own client."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import dmun_audit
from dmun_audit._util.errors import UsageError
from dmun_audit.cli import main
from dmun_audit.evidence.run import read_run
from dmun_audit.tracking.logged_audit import logged_audit
from dmun_audit.tracking.trackers import track

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


def test_a_server_that_is_not_there_is_one_error_without_the_password(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI") as raised:
        track(run, "mlflow")
    assert "127.0.0.1" in str(raised.value)
    assert "secret" not in str(raised.value)
