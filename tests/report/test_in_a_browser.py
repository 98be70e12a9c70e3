"""The page as a browser shows it: on a desk, on a phone, in the dark, without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from example_runs import WrittenRun, claim, fill, record
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


# Choosing and ordering cases, on a page of more than 500.


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with more than 500 cases: the example, and prompts in three languages that share a few pictures."""
    folder = WrittenRun(tmp_path_factory.mktemp("large") / "run")
    fill(folder)
    pictures = [folder.image("candidate", "shared", index, 0.6, target_score=0.1, detected=False) for index in range(4)]
    for number in range(500):
        language, hits = ("en", "de", "fr")[number % 3], int(number == 250)
        folder.add(
            record(
                "adversarial",
                f"“prompt {number}” does not bring Van Gogh back",
                "PASS",
                images=[{**each, "prompt": f"prompt {number}"} for each in pictures],
                prompt={"text": f"prompt {number}", "strategy": "description" if number % 2 else "works", "language": language},
                claim=claim("rate_at_most", hits, 8, 0.0, 0.3, 0.1, burden="prove harm"),
            )
        )
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(read_run(folder.close()), path)
    return path.as_uri()


@pytest.fixture
def large_page(page: Any, large: str) -> Any:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(large)
    yield page
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [large]


def visible(page: Any) -> Any:
    return page.locator("details.case:visible")


def test_a_large_page_is_searched_and_chosen_from(large_page: Any) -> None:
    everything = visible(large_page).count()
    assert everything > 500
    large_page.keyboard.press("/")
    large_page.keyboard.type("prompt 25")
    assert visible(large_page).count() == 15  # 25, 125, 225, 325, 425, and 250 to 259
    assert large_page.locator("#shown").inner_text() == f"15 of {everything} cases"
    large_page.locator("select[data-field=language]").select_option("de")
    assert {visible(large_page).nth(place).get_attribute("data-language") for place in range(visible(large_page).count())} == {
        "de"
    }
    large_page.locator("select[data-field=kind]").select_option("works")
    large_page.locator("select[data-field=group]").select_option("adversarial")
    chosen = visible(large_page)
    assert chosen.count() > 0
    assert {chosen.nth(place).get_attribute("data-kind") for place in range(chosen.count())} == {"works"}
    large_page.locator("select[data-field=group]").select_option("erasure")
    assert visible(large_page).count() == 0
    large_page.keyboard.press("Escape")
    assert visible(large_page).count() == everything
    assert large_page.locator("#search").input_value() == ""


def test_the_worst_cases_come_first_on_demand_and_the_plan_s_order_comes_back(large_page: Any) -> None:
    cases = large_page.locator("section.group:has(#group-adversarial) .part:last-of-type details.case")
    planned = [cases.nth(place).get_attribute("id") for place in range(6)]
    large_page.locator("#order").select_option("rank")
    ranks = [int(cases.nth(place).get_attribute("data-rank")) for place in range(30)]
    assert ranks == sorted(ranks)
    assert "prompt 250" in cases.nth(1).inner_text() + cases.nth(0).inner_text() + cases.nth(2).inner_text()
    large_page.locator("#order").select_option("place")
    assert [cases.nth(place).get_attribute("id") for place in range(6)] == planned


def test_the_keyboard_goes_from_case_to_case_and_opens_them(large_page: Any) -> None:
    large_page.keyboard.press("j")
    large_page.keyboard.press("j")
    second = visible(large_page).nth(1)
    assert second.evaluate("one => one.contains(document.activeElement)")
    was = second.get_attribute("open")
    large_page.keyboard.press("o")
    assert second.get_attribute("open") != was
    large_page.keyboard.press("k")
    assert visible(large_page).first.evaluate("one => one.contains(document.activeElement)")


def test_a_link_to_a_case_that_is_not_chosen_shows_it(large_page: Any) -> None:
    large_page.locator("#search").fill("prompt 25")
    large_page.locator(".findings a").first.click()
    name = large_page.locator(".findings a").first.get_attribute("href").removeprefix("#")
    assert large_page.locator(f"[id='{name}']").is_visible()
    assert large_page.locator(f"[id='{name}']").get_attribute("open") is not None


# Large pictures.


def test_a_picture_opens_large_with_a_slider_between_base_and_candidate(page: Any, address: str) -> None:
    page.goto(address)
    figure = page.locator(".sheet figure.pair:has([data-model=base]):has([data-model=candidate])").first
    figure.locator("img").last.click()
    viewer = page.locator("#viewer")
    assert viewer.is_visible()
    assert figure.get_attribute("data-prompt") in viewer.locator("h2").inner_text()
    above = viewer.locator(".above")
    assert above.get_attribute("src") == figure.locator("[data-model=candidate] img").get_attribute("src")
    assert viewer.locator(".below").get_attribute("src") == figure.locator("[data-model=base] img").get_attribute("src")
    viewer.locator("input").fill("80")
    assert "80%" in above.evaluate("one => one.style.clipPath")
    assert "target" in viewer.locator(".scores .candidate").inner_text()
    first = viewer.locator("h2").inner_text(), viewer.locator(".place").inner_text()
    viewer.locator("[data-do=next]").click()
    assert (viewer.locator("h2").inner_text(), viewer.locator(".place").inner_text()) != first
    page.keyboard.press("ArrowLeft")
    assert (viewer.locator("h2").inner_text(), viewer.locator(".place").inner_text()) == first
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    assert page.said == []


def test_a_picture_of_a_case_opens_from_the_keyboard(page: Any, address: str) -> None:
    page.goto(address)
    page.locator("details.case[open] figure.pair img").last.focus()
    page.keyboard.press("Enter")
    assert page.locator("#viewer").is_visible()
    page.locator("#viewer [data-do=close]").click()
    assert not page.locator("#viewer").is_visible()


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = WrittenRun(tmp_path_factory.mktemp("sensitive") / "run")
    folder.manifest["target"] = {"name": "nudity", "kind": "unsafe"}
    fill(folder)
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(read_run(folder.close()), path)
    return path.as_uri()


BLURRED = "[...document.querySelectorAll('figure.pair img')].filter(one => getComputedStyle(one).filter.includes('blur')).length"


@pytest.mark.parametrize("scripts", [True, False])
def test_pictures_of_a_sensitive_target_are_blurred_until_somebody_asks(browser: Any, sensitive: str, scripts: bool) -> None:
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    page.goto(sensitive)
    image = page.locator(".sheet figure.pair img").first
    assert "blur" in image.evaluate("one => getComputedStyle(one).filter") if scripts else True
    if scripts:
        every, hidden = page.evaluate("document.querySelectorAll('figure.pair img').length"), page.evaluate(BLURRED)
        assert hidden == every > 0
        image.click()
        assert not page.locator("#viewer").is_visible()
        assert page.evaluate(BLURRED) < every
        image.click()
        assert page.locator("#viewer").is_visible()
        page.keyboard.press("Escape")
    page.locator("#reveal").check()
    if scripts:
        assert page.evaluate(BLURRED) == 0
    context.close()


def test_an_unsafe_target_s_pictures_can_be_shown_where_only_probes_have_any(page: Any, tmp_path: Path) -> None:
    folder = WrittenRun(tmp_path / "run")
    folder.manifest["target"] = {"name": "nudity", "kind": "unsafe"}
    base = folder.image("base", "a person", 0, 0.1, detected=True)
    ours = folder.image("candidate", "a person", 0, 0.2, detected=False) | {"dose": "weak"}
    doses = [{"label": "weak", "candidate": [0], "control": [0], "base": [1]}]
    probe = {"name": "noise", "control": "placebo", "units": 1, "row": 1, "without_probe": [0], "doses": doses, "images": [ours]}
    folder.add(record("probes", "More noise does not bring nudity back", "PASS", images=[base], probe=probe))
    write_html(read_run(folder.close()), tmp_path / "report.html")
    page.goto((tmp_path / "report.html").as_uri())
    blurred = "[...document.images].filter(one => getComputedStyle(one).filter.includes('blur')).length"
    assert page.evaluate(blurred) == page.evaluate("document.images.length") > 0
    page.locator("#reveal").check()
    assert page.evaluate(blurred) == 0
    assert page.said == []


@pytest.mark.parametrize("kind", ["style", "unsafe"])
def test_pictures_on_which_judges_differ_open_large(page: Any, tmp_path: Path, kind: str) -> None:
    folder = WrittenRun(tmp_path / "run")
    folder.manifest["target"] = {"name": "Van Gogh", "kind": kind}
    folder.manifest["judge"]["second"] = {"reference": "another", "digest": "d"}
    differs = {"target_score": 0.9, "detected": True, "second_score": 0.1, "second_detected": False}
    images = [folder.image("candidate", "a boat", index, 0.3, **differs) for index in range(2)]
    folder.add(record("erasure", "a boat", "FAIL", images=images, claim=claim("rate_at_most", 2, 2, 0.2, 1, 0.05)))
    write_html(read_run(folder.close()), tmp_path / "report.html")
    page.goto((tmp_path / "report.html").as_uri())
    picture = page.locator("section:has(#disagreements) figure.pair img").first
    picture.click()
    if kind == "unsafe":
        assert not page.locator("#viewer").is_visible()
        picture.click()
    assert page.locator("#viewer").is_visible()
    assert page.said == []
    assert picture.get_attribute("role") == "button"


def test_a_second_click_on_a_link_shows_a_case_that_was_hidden_since(large_page: Any) -> None:
    link = large_page.locator(".findings a").first
    link.click()
    name = link.get_attribute("href").removeprefix("#")
    large_page.locator("#search").fill("prompt 25")
    assert not large_page.locator(f"[id='{name}']").is_visible()
    link.click()
    assert large_page.locator(f"[id='{name}']").is_visible()


def test_a_page_without_pictures_has_none(browser: Any, example: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_html(replace(read_run(example), pictures=False), path)
    assert "data:image" not in path.read_text()
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.locator(".sheet").count() == 0
    assert page.locator("details.case:visible").count() == 32
    page.close()


# Readers of screens, and paper.


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(page: Any, address: str, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = Axe().run(page).response["violations"]
    page.locator(".sheet figure.pair img").last.click()
    found += Axe().run(page, "#viewer").response["violations"]
    serious = [(each["id"], each["nodes"][0]["html"][:120]) for each in found if each["impact"] in {"serious", "critical"}]
    assert serious == []


def test_it_prints_without_controls(page: Any, address: str) -> None:
    page.goto(address)
    page.emulate_media(media="print")
    assert not page.locator("#filter").is_visible()
    assert page.locator(".sheet").is_visible()
    assert page.pdf().startswith(b"%PDF")
