"""What a tracker is told of an audit, before any tracker is asked."""

import re
import shutil
from dataclasses import replace

import pytest
from example_runs import WrittenRun, claim, fill, record

from dmun_audit._util.errors import UsageError
from dmun_audit.cli import main
from dmun_audit.comparison.figures import figures_of
from dmun_audit.evidence.run import read_run
from dmun_audit.tracking.logged_audit import LONGEST_VALUE, WITHOUT_PICTURES, collect_files, logged_audit
from dmun_audit.tracking.names import check_tracker
from dmun_audit.tracking.tracked_run import without_user
from dmun_audit.tracking.trackers import tracking_line


@pytest.fixture
def run(example):
    return read_run(example)


def with_manifest(run, **values):
    return replace(run, manifest=run.manifest.model_copy(update=values))


def test_every_figure_of_compare_is_a_metric_with_its_bounds(run):
    metrics = logged_audit(run).metrics
    for name, figure in figures_of(run).items():
        plain = re.sub(r"[^A-Za-z0-9]+", "_", name.replace("ρ", "rho")).strip("_")
        for ending, value in (("", figure.value), ("_lower", figure.lower), ("_upper", figure.upper)):
            assert metrics.get(plain + ending) == value, name
    assert metrics["erasure"] > 0
    assert metrics["rho_dossier"] == pytest.approx(0.87)


def test_cases_and_images_are_counted(run):
    metrics = logged_audit(run).metrics
    by_verdict = {name: value for name, value in metrics.items() if name.startswith("cases_") and name != "cases_waived"}
    assert sum(by_verdict.values()) == metrics["cases"] == len(run.cases)
    assert metrics["cases_FAIL"] == sum(case.verdict == "FAIL" for case in run.cases)
    assert (metrics["images_planned"], metrics["images_rendered"], metrics["images_reused"]) == (736, 700, 36)


def test_names_of_metrics_are_ones_that_every_tracker_takes_and_no_two_are_equal(folder: WrittenRun):
    for place, strategy in enumerate(["lower", "a b", "a-b", "<script>"]):
        prompt = {"text": f"p{place}", "strategy": strategy, "language": "en"}
        folder.add(record("adversarial", f"t{place}", "PASS", prompt=prompt, claim=claim("rate_at_most", place, 8, 0, 0.3, 0.4)))
    folder.add(record("adversarial", "all", "PASS", pooled=True, claim=claim("rate_at_most", 6, 32, 0.07, 0.2, 0.4)))
    metrics = logged_audit(read_run(folder.close())).metrics
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in metrics)
    assert metrics["adversarial_lower"] == 0.07  # the bound of the group, and not the strategy that is called "lower"
    assert metrics["adversarial_lower_2"] == 0.0
    assert {metrics["adversarial_a_b"], metrics["adversarial_a_b_2"]} == {1 / 8, 2 / 8}


def test_parameters_and_tags_say_what_ran_and_what_it_is_worth(run):
    audit, manifest = logged_audit(run), run.manifest
    assert audit.parameters["target"] == "Van Gogh"
    assert audit.parameters["candidate"] == "outputs/uce-van-gogh.safetensors"
    assert audit.parameters["base"] == "atelier:base"
    assert audit.parameters["policy"] == "smoke"
    assert audit.parameters["judge"] == "atelier:judge"
    assert audit.parameters["dossier_digest"] == manifest.dossier["digest"]
    assert audit.parameters["audit_seed"] == "0"
    assert audit.tags["verdict"] == "FAIL"
    assert audit.tags["release_evidence"] == "no"
    strict = with_manifest(run, policy=manifest.policy | {"weaker_than_release": []})
    assert logged_audit(strict).tags["release_evidence"] == "yes"
    undecided = with_manifest(strict, verdict="INCONCLUSIVE", exit_code=12)
    assert logged_audit(undecided).tags["release_evidence"] == "no"


def test_texts_of_a_manifest_are_one_line_and_not_longer_than_trackers_keep(run):
    hostile = "a\x1b[31m\nb" + "x" * 1000
    audit = logged_audit(with_manifest(run, models=run.manifest.models | {"candidate": {"reference": hostile}}))
    assert audit.parameters["candidate"].startswith("a[31m b")
    assert len(audit.parameters["candidate"]) == LONGEST_VALUE


def test_the_identity_follows_from_audit_and_extent_and_the_evidence_from_what_was_decided(run):
    first = logged_audit(with_manifest(run, audit_hash="a", whole=True))
    assert first.identity == logged_audit(with_manifest(run, audit_hash="a", whole=True, seconds=1.0)).identity
    others = [with_manifest(run, audit_hash="b", whole=True), with_manifest(run, audit_hash="a", whole=False)]
    assert len({first.identity, *(logged_audit(other).identity for other in others)}) == 3
    changed = logged_audit(replace(with_manifest(run, audit_hash="a", whole=True), digest="other"))
    assert (changed.identity, changed.evidence != first.evidence) == (first.identity, True)


def test_an_audit_without_a_verdict_is_refused(run):
    with pytest.raises(UsageError, match="not concluded"):
        logged_audit(with_manifest(run, exit_code=None))
    with pytest.raises(UsageError, match="changed"):
        logged_audit(replace(run, contradictions=("evidence.jsonl changed.",)))


# Files.


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "files"
    path.mkdir()
    return path


def names(files):
    return {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}


def test_reports_and_evidence_are_taken_and_images_only_if_asked_for(run, files, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "report.html").write_text("page")
    (copy / "secret.txt").write_text("not ours")
    run = replace(run, path=copy)
    collect_files(run, files, images=False)
    assert names(files) == {"report.html", "manifest.json", "evidence.jsonl"}
    shutil.rmtree(files)
    files.mkdir()
    collect_files(run, files, images=True)
    keys = {image.key for case in run.cases for image in case.all_images}
    assert {name for name in names(files) if name.startswith("images/")} == {f"images/{key}.png" for key in keys}


def test_a_link_in_a_run_folder_takes_nothing_from_elsewhere(folder: WrittenRun, files, tmp_path):
    fill(folder)
    run = read_run(folder.close())
    (tmp_path / "secret").write_text("secret")
    (run.path / "report.html").symlink_to(tmp_path / "secret")
    image = next(run.path.glob("images/*.png"))
    image.unlink()
    image.symlink_to(tmp_path / "secret")
    collect_files(run, files, images=True)
    assert "report.html" not in names(files)
    assert f"images/{image.name}" not in names(files)
    assert len(names(files)) > 2


def test_pictures_of_a_sensitive_target_stay_unless_images_are_asked_for(folder: WrittenRun, files):
    fill(folder)
    folder.manifest["target"] = {"name": "something", "kind": "unsafe"}
    run = read_run(folder.close())
    (run.path / "report.html").write_text("<img src='data:image/png;base64,AAAA'>")
    collect_files(run, files, images=False)
    assert "report.html" not in names(files)
    page = (files / WITHOUT_PICTURES).read_text()
    assert "something" in page
    assert "data:image/png" not in page
    assert "data:image/jpeg" not in page


# Trackers by name.


def test_an_unknown_tracker_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(UsageError, match="--track=neptune is no tracker"):
        check_tracker("neptune", "--track")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--to=mlflow needs mlflow, which is not installed(.|\n)*dmun_audit\[mlflow\]"):
        check_tracker("mlflow", "--to")


def test_the_command_names_a_folder_that_is_no_run_before_anything_is_logged(example, tmp_path, capsys):
    assert main(["track", str(example), str(tmp_path / "nowhere"), "--to=mlflow"]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert "nowhere is no folder" in said.err


def test_users_and_passwords_in_addresses_are_never_said():
    told = without_user("failed: https://me:secret@host/api?token=secret and http://other/")
    assert told == "failed: https://host/api and http://other/"
    for password in ("p@ss/word", "p@ss", "a/b"):
        assert without_user(f"at https://me:{password}@host.example/x") == "at https://host.example/x"


def test_a_line_is_said_whatever_a_tracker_does(run, monkeypatch):
    for error in (RuntimeError("broken\nin two lines"), SystemExit(3), KeyboardInterrupt()):

        def fail(*given, error=error):
            raise error

        monkeypatch.setattr("dmun_audit.tracking.trackers._log", fail)
        monkeypatch.setattr("dmun_audit.tracking.trackers.check_tracker", lambda tracker, option: None)
        line = tracking_line(run, "mlflow")
        assert line.startswith("warning: the audit was not logged.")
        assert "\n" not in line

    def full(**given):
        raise OSError("no space left")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert tracking_line(run, "mlflow") == "warning: the audit was not logged. OSError: no space left"
