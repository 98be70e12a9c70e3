"""The page as a browser shows it: on a desk, on a phone, in the dark, without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from dmun_audit.evidence.run import read_run
from dmun_audit.report.html import write_html

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def address(example: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(read_run(example), path)
    return path.as_uri()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page()
    opened.said = []
    opened.asked = []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_page_opens_and_fits(page: Any, address: str, width: int, height: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [address]
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].length") > 100
    assert page.evaluate("[...document.images].filter(image => image.naturalWidth === 0).length") == 0
    box = page.locator("#verdict").bounding_box()
    assert page.locator("#verdict").inner_text().endswith("FAIL")
    assert box["y"] + box["height"] < height


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_against_what_lies_behind_it(page: Any, address: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    weak = page.evaluate(
        """() => {
          const parts = colour => colour.match(/[\\d.]+/g).map(Number);
          const light = colour => {
            const [r, g, b] = parts(colour).slice(0, 3).map(v => v / 255)
              .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const behind = element => {
            for (let at = element; at; at = at.parentElement) {
              const colour = getComputedStyle(at).backgroundColor, alpha = parts(colour)[3];
              if (alpha === undefined || alpha > 0.99) return colour;
            }
            return "rgb(255, 255, 255)";
          };
          const found = [];
          for (const element of document.querySelectorAll("body *")) {
            const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
            if (!own || !element.checkVisibility()) continue;
            const style = getComputedStyle(element);
            const ink = element instanceof SVGElement ? style.fill : style.color;
            const [low, high] = [light(ink), light(behind(element))].sort((a, b) => a - b);
            const contrast = (high + 0.05) / (low + 0.05);
            if (contrast < 4.5) found.push([element.tagName, element.textContent.slice(0, 30), contrast]);
          }
          return found;
        }"""
    )
    assert weak == []


@pytest.mark.slow
def test_cases_can_be_filtered_by_verdict_from_the_keyboard(page: Any, address: str) -> None:
    page.goto(address)
    everything = page.locator("details.case:visible").count()
    button = page.locator("#filter button", has_text="VACUOUS")
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    shown = page.locator("details.case:visible")
    assert {shown.nth(place).get_attribute("data-verdict") for place in range(shown.count())} == {"VACUOUS"}
    page.locator("#filter button").first.click()
    assert page.locator("details.case:visible").count() == everything == 32


def test_a_link_to_a_closed_case_opens_it(page: Any, address: str) -> None:
    page.goto(address)
    link = page.locator(".summary .claim a").first
    name = link.get_attribute("href").removeprefix("#")
    assert page.locator(f"[id='{name}']").get_attribute("open") is None
    link.click()
    page.wait_for_function("name => document.getElementById(name).open", arg=name)


def test_the_page_can_be_read_without_scripts(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(address)
    assert opened.locator("details.case:visible").count() == 32
    assert opened.locator("#filter").is_hidden()
    opened.locator("details.case:not([open]) summary").first.click()
    assert opened.locator("details.case[open]").count() == 4
    context.close()
