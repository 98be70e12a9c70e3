"""The viewer lists the runs of a folder, shows their reports and comparisons, and answers nobody but its own pages."""

from __future__ import annotations

import http.client
import json
import shutil
from pathlib import Path

import pytest
from example_runs import WrittenRun, fill
from playwright.sync_api import sync_playwright

from dmun_audit.cli import main
from dmun_audit.viewer.pages import list_page
from dmun_audit.viewer.runs import runs_below
from dmun_audit.viewer.server import ViewerServer

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, hostile):
    """Two runs one level apart, one of them hostile, a broken one and other files."""
    folder = tmp_path_factory.mktemp("runs")
    first, second = WrittenRun(folder / "first"), WrittenRun(folder / "deeper" / "second")
    fill(first)
    first.close()
    second.manifest |= {"target": {"name": hostile, "kind": "style"}, "exit_code": None, "finished": "2026-11-21T00:00:00Z"}
    fill(second)
    second.close()
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    (folder / "broken" / "evidence.jsonl").write_text("")
    (folder / "deeper" / "manifest.json").write_text("{}")  # no run: it has no evidence
    return folder


@pytest.fixture
def server(folder):
    with ViewerServer(folder) as started:
        yield started


def asked(server, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path, headers={"Host": f"127.0.0.1:{server.port}", **headers})
    response = connection.getresponse()
    return response.status, response.read().decode(), dict(response.getheaders())


def test_runs_at_any_depth_are_found_and_the_last_finished_comes_first(folder):
    assert [run.name for run in runs_below(folder)] == ["deeper/second", "first"]
    assert [run.verdict for run in runs_below(folder)] == ["not concluded", "FAIL"]
    assert [run.name for run in runs_below(folder / "first")] == ["first"]
    assert [run.id for run in runs_below(folder)] == [run.id for run in runs_below(folder)]


def test_the_list_shows_each_run_and_runs_no_text_of_theirs(server, folder):
    status, page, headers = asked(server, f"/{server.token}/")
    assert status == 200
    assert all(run.id in page for run in runs_below(folder))
    assert "<script>alert" not in page
    assert "default-src 'none'" in page
    assert headers["X-Frame-Options"] == "DENY"


def test_a_report_is_made_from_the_evidence_and_not_read_from_the_folder(server, folder):
    (folder / "first" / "report.html").write_text("planted")
    (run,) = runs_below(folder / "first")
    status, page, _ = asked(server, f"/{server.token}/run/{run.id}")
    assert status == 200
    assert "planted" not in page
    assert '<h1 dir="auto">Van Gogh</h1>' in page


def test_a_report_is_made_again_when_its_run_changes(folder, tmp_path):
    copy = shutil.copytree(folder / "first", tmp_path / "first")
    with ViewerServer(tmp_path) as server:
        (run,) = runs_below(tmp_path)
        before = asked(server, f"/{server.token}/run/{run.id}")[1]
        manifest = json.loads((copy / "manifest.json").read_text())
        (copy / "manifest.json").write_text(json.dumps(manifest | {"target": {"name": "Somebody else", "kind": "style"}}))
        after = asked(server, f"/{server.token}/run/{run.id}")[1]
    assert "Somebody else" in after
    assert "Somebody else" not in before


def test_a_comparison_that_cannot_be_made_says_why(server, folder):
    ids = [run.id for run in runs_below(folder)]
    status, page, _ = asked(server, f"/{server.token}/compare?run={ids[0]}&run={ids[1]}")
    assert status == 422
    assert "cannot be compared" in page
    assert "there is nothing to compare" in asked(server, f"/{server.token}/compare?run={ids[0]}")[1]


@pytest.mark.parametrize(
    "path", ["run/0123", "run/../first/manifest.json", "run/%2e%2e/first", "first/report.html", "report", "run/"]
)
def test_nothing_else_is_served(server, path):
    assert asked(server, f"/{server.token}/{path}")[0] == 404


def test_other_pages_and_hosts_get_no_answer(server):
    assert asked(server, "/wrong-token/")[0] == 404
    assert asked(server, f"/{server.token}/", Host="evil.example")[0] == 403
    assert asked(server, f"/{server.token}/", Origin="http://evil.example")[0] == 403


def test_an_empty_folder_and_no_folder_are_said(tmp_path, capsys):
    assert "There is no run folder" in list_page(tmp_path, [])
    assert main(["view", str(tmp_path / "none")]) == 4
    assert "is no folder" in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium on this machine")
def test_the_list_is_filtered_and_leads_to_reports(server):
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(server.url)
        rows = page.locator("tbody tr:visible")
        assert rows.count() == 2
        page.keyboard.press("/")
        page.keyboard.type("first")
        assert rows.count() == 1
        assert page.locator("#shown").inner_text() == "1 of 2 runs"
        page.locator("#search").fill("")
        page.locator("select[data-field=verdict]").select_option("FAIL")
        assert rows.count() == 1
        assert page.locator("form button").is_disabled()
        page.locator("tbody tr:visible input").check()
        assert page.locator("form button").is_disabled()
        page.locator("tbody tr:visible a").click()
        page.wait_for_selector("#verdict")
        assert "Van Gogh" in page.title()
        assert said == []
        browser.close()
