"""Whole audits with pytest-html, allure-pytest and a tracker beside them, in one process and on workers."""

import base64
import io
import json
import os
import re
import sys
from html import unescape
from pathlib import Path

import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy
from PIL import Image

import dmun_audit
from dmun_audit.evidence.run import read_run
from dmun_audit.report.exports.pair_pictures import shown_pairs_of

for plugin in ("pytest_html", "allure_pytest", "mlflow"):
    pytest.importorskip(plugin)

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy under which atelier:noop fails in single cases and in claims over groups."""
    path = coarse_policy(
        tmp_path_factory.mktemp("policy") / "mine.toml", **FEW_IMAGES | {"steps": 2, "concepts": 6, "margin": 0.5}
    )
    path.write_text(path.read_text().replace('per_prompt = "none"', 'per_prompt = "prove safe"\nper_prompt_ceiling = 0.3'))
    return path


@pytest.fixture(scope="module")
def audited(policy, store):
    """Runs `pytest audits/` on atelier:noop in a folder, with these arguments and variables more."""

    def run(folder, *arguments, **more):
        command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--model=atelier:noop"]
        command += [f"--policy={policy}", f"--store={store}", f"--audit-dir={folder / 'audit'}", *map(str, arguments)]
        variables = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
        return processes.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)} | variables | more)

    return run


@pytest.fixture(scope="module", params=["0", "2"])
def reported(request, audited, tmp_path_factory):
    """The folder of an audit with all three beside it, and what pytest wrote."""
    folder = tmp_path_factory.mktemp(f"n{request.param}")
    done = audited(
        folder,
        *("-n", request.param, f"--html={folder / 'tests.html'}", "--self-contained-html", f"--alluredir={folder / 'allure'}"),
        "--track=mlflow",
        MLFLOW_TRACKING_URI=(folder / "mlruns").as_uri(),
    )
    assert done.returncode in {1, 12}, done.stdout + done.stderr
    return folder, done


def rows_of(page):
    """The rows of pytest-html's page by node id."""
    blob = re.search(r'data-jsonblob="([^"]*)"', page.read_text())
    return {row["testId"]: row for rows in json.loads(unescape(blob[1]))["tests"].values() for row in rows}


def allure_results(folder):
    """Allure's results by test name."""
    return {result["name"]: result for path in folder.glob("*-result.json") if (result := json.loads(path.read_text()))}


def name_of(case):
    return f"pooled[{case.case_id}]" if case.pooled else f"[{case.case_id}]"


def is_of(case, test_name):
    return test_name.endswith(name_of(case))


def test_failed_cases_carry_their_pairs_and_their_text_in_pytest_html(reported):
    folder, _ = reported
    run, rows = read_run(folder / "audit"), rows_of(folder / "tests.html")
    failing = [case for case in run.cases if case.is_failure]
    assert {case.pooled for case in failing} == {True, False}
    for case in run.cases:
        (row,) = [row for name, row in rows.items() if is_of(case, name)]
        pictures = "".join(extra["content"] for extra in row["extras"])
        if not case.is_failure:
            assert pictures == ""
            continue
        pairs = shown_pairs_of(case, run.cases)
        wanted = [image for pair in pairs for image in (pair.base, pair.candidate) if image]
        shown = re.findall(r'src="data:image/png;base64,([^"]+)"', pictures)
        assert len(shown) == len(wanted) > 0
        for found, image in zip(shown, wanted, strict=True):
            with Image.open(io.BytesIO(base64.b64decode(found))) as ours, Image.open(run.image(image.key)) as theirs:
                assert ours.convert("RGB").tobytes() == theirs.convert("RGB").tobytes()
        assert f"{case.verdict}: " in unescape(row["log"])


def test_the_head_of_the_page_of_pytest_html_has_the_verdict(reported):
    folder, _ = reported
    run, page = read_run(folder / "audit"), (folder / "tests.html").read_text()
    assert f"<strong>Audit of Van Gogh: {run.verdict}</strong>" in page


def test_allure_has_each_case_with_its_pairs_and_the_verdict(reported):
    folder, _ = reported
    run, results = read_run(folder / "audit"), allure_results(folder / "allure")
    for case in run.cases:
        (result,) = [result for name, result in results.items() if is_of(case, name)]
        attached = result.get("attachments", [])
        if not case.is_failure:
            assert attached == []
            assert result["status"] != "failed"
            continue
        assert result["status"] == "failed"
        text, *pictures = attached
        assert f"{case.verdict}: " in (folder / "allure" / text["source"]).read_text()
        pairs = shown_pairs_of(case, run.cases)
        assert [picture["type"] for picture in pictures] == ["image/png"] * len(pairs) != []
        for picture, pair in zip(pictures, pairs, strict=True):
            sides = [run.image(image.key) for image in (pair.base, pair.candidate) if image]
            with Image.open(folder / "allure" / picture["source"]) as whole, Image.open(sides[-1]) as last:
                right = whole.crop((whole.width - last.width, 0, whole.width, last.height))
                assert right.tobytes() == last.convert("RGB").tobytes()
                assert whole.width > last.width * (len(sides) - 0.5)
            assert pair.prompt in picture["name"]
    (verdict,) = [result for name, result in results.items() if name.startswith("verdict[")]
    assert (verdict["status"], verdict["statusDetails"]["message"]) == ("failed", str(run.verdict))


def test_the_audit_is_in_mlflow_once_and_pytest_says_where(reported, monkeypatch):
    folder, done = reported
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient((folder / "mlruns").as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("dmun_audit").experiment_id])
    run = read_run(folder / "audit")
    assert found.data.tags["dmun_audit.verdict"] == run.verdict
    assert found.data.tags["dmun_audit.audit_hash"] == run.manifest.audit_hash
    assert found.data.metrics["cases"] == len(run.cases)
    files = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert {"report.html", "junit.xml", "manifest.json", "evidence.jsonl", "SHA256SUMS"} <= files
    assert "images" not in files
    assert [line for line in done.stdout.splitlines() if line.startswith("tracking: ")] == [
        f"tracking: logged to MLflow: run {found.info.run_id} of dmun_audit, {(folder / 'mlruns').as_uri()}"
    ]


def test_a_tracker_that_fails_changes_nothing_but_a_line_and_no_images_leaves_pictures_out(reported, audited, tmp_path):
    folder, done = reported
    again = audited(
        tmp_path,
        *("--no-images", f"--html={tmp_path / 'tests.html'}", f"--alluredir={tmp_path / 'allure'}", "--track=mlflow"),
        MLFLOW_TRACKING_URI="http://me:secret@127.0.0.1:9",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    assert again.returncode == done.returncode
    assert read_run(tmp_path / "audit").verdict == read_run(folder / "audit").verdict
    (line,) = [
        line for line in again.stdout.splitlines() if line.startswith("warning: the audit was not logged. MLflow did not take ")
    ]
    assert "secret" not in line
    assert all(row["extras"] == [] for row in rows_of(tmp_path / "tests.html").values())
    attached = [each for result in allure_results(tmp_path / "allure").values() for each in result.get("attachments", [])]
    assert {each["type"] for each in attached} == {"text/plain"}


def test_an_audit_in_python_is_logged_too_and_a_failure_is_a_warning(policy, store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    given = {"policy": policy, "store": store, "audit_dir": tmp_path / "audit", "track": "mlflow"}
    result = dmun_audit.audit("atelier:noop", **given)
    assert dmun_audit.log_to_mlflow(result).status == "there already"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.warns(UserWarning, match="the audit was not logged. MLflow did not take"):
        again = dmun_audit.audit("atelier:noop", **given)
    assert again.verdict == result.verdict


def test_an_unknown_tracker_ends_the_session_before_anything_is_drawn(audited, tmp_path):
    done = audited(tmp_path, "--track=neptune")
    assert done.returncode == 4
    assert "--track=neptune is no tracker" in done.stderr + done.stdout
    assert not (tmp_path / "audit").exists()


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium on this machine")
def test_a_browser_shows_every_picture_of_the_page(reported):
    from playwright.sync_api import sync_playwright

    folder, _ = reported
    run = read_run(folder / "audit")
    wanted = sum(
        bool(image)
        for case in run.cases
        if case.is_failure
        for pair in shown_pairs_of(case, run.cases)
        for image in (pair.base, pair.candidate)
    )
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page, said = browser.new_page(viewport={"width": 1280, "height": 900}), []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((folder / "tests.html").as_uri())
        page.wait_for_selector("figure img")
        shown = page.evaluate("[...document.querySelectorAll('figure img')].filter(i => i.naturalWidth && i.offsetWidth).length")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        browser.close()
    assert (shown, wide, said) == (wanted, 0, [])
