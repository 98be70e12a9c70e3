"""The page on which a person labels: what it gives away, what it refuses, how it is worked from the keyboard."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from labelled_runs import SECRET, person_of, write_run
from playwright.sync_api import sync_playwright

from dmun_audit._util.errors import UsageError
from dmun_audit.cli import main
from dmun_audit.evidence.run import read_run
from dmun_audit.report.html.labelling import render_labelling
from dmun_audit.spot_check.labeling_session import begin_session
from dmun_audit.spot_check.labels import FILE, Labels, read_labels
from dmun_audit.spot_check.server import LabelingServer
from dmun_audit.spot_check.strata import judged_images

pytestmark = pytest.mark.slow

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium on this machine")


@pytest.fixture
def server(tmp_path) -> Iterator[LabelingServer]:
    folder = write_run(tmp_path / "run")
    run = read_run(folder)
    images = judged_images(run.cases).values()
    session = begin_session(folder, run.digest, images, Labels({}, 0), person="Ann", size=6)
    with LabelingServer(session, partial(render_labelling, "Van Gogh & <b>co</b>", "style", "Ann")) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser) -> Iterator[Any]:
    opened = browser.new_page()
    opened.messages = []
    opened.on("console", lambda message: opened.messages.append(message.text))
    opened.on("pageerror", lambda error: opened.messages.append(str(error)))
    yield opened
    opened.close()


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    return reply.status, reply.read(), dict(reply.getheaders())


def answers(server):
    labels = read_labels(server.session.folder, server.session.evidence).by_person.get("Ann", {})
    return [labels[key].answer if key in labels else None for key in server.session.order]


def test_page_and_images_give_nothing_away(server):
    status, page, headers = ask(server, "GET", f"/{server.token}/")
    assert (status, headers["Cache-Control"], headers["Referrer-Policy"]) == (200, "no-store", "no-referrer")
    for given in (SECRET, "candidate", "detected", *server.session.order):
        assert given.encode() not in page
    assert b"<b>co</b>" not in page
    for opaque in server.keys:
        status, picture, headers = ask(server, "GET", f"/{server.token}/image/{opaque}")
        assert (status, headers["Content-Type"]) == (200, "image/png")
        assert SECRET.encode() not in picture
        assert "Last-Modified" not in headers


def test_names_of_images_are_new_in_every_session(server):
    again = LabelingServer(server.session, server.page)
    assert not set(again.keys) & set(server.keys)
    assert again.token != server.token
    with again:
        pass


def test_nothing_is_told_to_a_stranger(server):
    image, here = next(iter(server.keys)), f"127.0.0.1:{server.port}"
    body = json.dumps({"image": image, "answer": "yes"})
    kind = {"Content_Type": "application/json"}
    refused = [
        ask(server, "GET", "/"),
        ask(server, "GET", f"/{'a' * len(server.token)}/"),
        ask(server, "GET", f"/{server.token}/", Host=f"evil.example:{server.port}"),
        ask(server, "GET", f"/{server.token}/image/{image}", Host="127.0.0.1"),
        ask(server, "GET", f"/{server.token}/image/{server.session.order[0]}"),
        ask(server, "GET", f"/{server.token}/../manifest.json"),
        ask(server, "POST", f"/{server.token}/answer", body, Origin="http://evil.example", **kind),
        ask(server, "POST", f"/{server.token}/answer", body, Content_Type="text/plain"),
        ask(server, "POST", f"/{server.token}/answer", json.dumps({"image": image, "answer": "perhaps"}), **kind),
        ask(server, "POST", f"/{server.token}/answer", json.dumps({"image": "0", "answer": "yes"}), **kind),
        ask(server, "POST", f"/{server.token}/answer", json.dumps({"image": ["x"], "answer": "yes"}), **kind),
        ask(server, "POST", f"/{server.token}/answer", "[" * 900, **kind),
        ask(server, "POST", f"/{server.token}/answer", "x" * 5000, **kind),
        ask(server, "POST", "/end", "{}", **kind),
    ]
    assert {status for status, *_ in refused} <= {400, 403, 404}
    assert not any(b"Van Gogh" in content for _, content, _ in refused)
    assert not server.ended.is_set()
    assert answers(server) == [None] * 6
    assert ask(server, "POST", f"/{server.token}/answer", body, Origin=f"http://{here}", **kind)[0] == 200
    assert answers(server).count("yes") == 1


def test_a_port_that_is_taken_is_one_clear_error(server):
    with pytest.raises(UsageError, match=f"port {server.port} cannot be opened"):
        LabelingServer(server.session, server.page, server.port)
    with pytest.raises(UsageError, match="port 70000"):
        LabelingServer(server.session, server.page, 70000)


@pytest.mark.slow
@needs_browser
def test_a_sample_is_labelled_from_the_keyboard(server, page):
    page.goto(server.url)
    written = 0
    for key in ("y", "n", "u", "ArrowLeft", "y", "n", "n", "n"):
        page.wait_for_selector("[data-answer=yes]:enabled")
        if key == "ArrowLeft":
            page.keyboard.press(key)
            assert page.locator("[data-answer=unsure]").get_attribute("aria-pressed") == "true"
            continue
        with page.expect_response("**/answer") as replied:
            page.keyboard.press(key)
        assert replied.value.ok
        written += 1
        assert (server.session.folder / FILE).read_text().count("\n") == written
    page.wait_for_selector("#done:visible")
    assert page.evaluate("document.activeElement.id") == "done-title"
    assert answers(server) == ["yes", "no", "yes", "no", "no", "no"]
    page.click("text=Finish and write the report")
    page.wait_for_selector("#ended:visible")
    assert server.ended.is_set()
    assert page.messages == []


@needs_browser
def test_a_page_opened_again_goes_on_at_the_first_open_image(server, page):
    page.goto(server.url)
    for _ in range(2):
        page.click("[data-answer=no]:enabled")
    page.locator("#count", has_text="2 of 6").wait_for()
    page.reload()
    page.wait_for_selector("[data-answer=yes]:enabled")
    assert page.locator("#picture").get_attribute("alt") == "Image 3 of 6, to be labelled"
    assert page.locator("#count").inner_text() == "2 of 6"


@needs_browser
def test_an_answer_that_could_not_be_written_is_said_and_asked_again(server, page):
    page.goto(server.url)
    (server.session.folder / FILE).mkdir()
    page.click("[data-answer=yes]:enabled")
    page.wait_for_selector("#trouble:visible")
    assert "not saved" in page.locator("#trouble").inner_text()
    assert page.locator("#count").inner_text() == "0 of 6"
    (server.session.folder / FILE).rmdir()
    page.click("[data-answer=no]:enabled")
    page.locator("#count", has_text="1 of 6").wait_for()
    assert not page.locator("#trouble").is_visible()
    assert answers(server)[0] == "no"


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (1280, 720)])
def test_image_and_answers_fit_the_screen(server, page, width, height, scheme):
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.goto(server.url)
    page.wait_for_selector("[data-answer=yes]:enabled")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    frame, last = page.locator("#picture").bounding_box(), page.locator("[data-answer=unsure]").bounding_box()
    assert frame["width"] == pytest.approx(frame["height"], abs=3)
    assert frame["width"] >= 220
    assert last["y"] + last["height"] <= height
    assert page.locator("h1:visible").inner_text().startswith("Does this show Van Gogh & <b>co</b>?")


@needs_browser
def test_the_command_asks_in_a_browser_and_writes_the_report(tmp_path, page, monkeypatch, capsys):
    folder, opened = write_run(tmp_path / "run"), threading.Event()
    address = []
    monkeypatch.setattr("webbrowser.open", lambda url: (address.append(url), opened.set()))
    command = threading.Thread(target=main, args=(["spot-check", str(folder), "--browser", "--by", "Ann", "--images", "3"],))
    command.start()
    assert opened.wait(30)
    page.goto(address[0])
    for _ in range(2):
        page.click("[data-answer=yes]:enabled")
    page.locator("#count", has_text="2 of 3").wait_for()
    page.click("text=Stop here")
    command.join(30)
    assert not command.is_alive()
    assert "2 of 3 images labelled" in capsys.readouterr().out
    assert person_of(read_run(folder), "Ann").labelled == 2
    page.goto((folder / "report.html").as_uri())
    assert page.locator("#spot-check").inner_text() == "Spot-check by a person"
