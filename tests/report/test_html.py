"""The page is one file, says what the evidence says, and lets nothing untrusted through."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.schema import ClaimRecord
from dmun_audit.report.html import render_html, write_html
from dmun_audit.report.html.drawings import interval, scatter
from dmun_audit.report.html.thumbnails import LONGEST_SIDE, thumbnail
from dmun_audit.report.pairs import shown_pairs

VOID = {"meta", "link", "img", "input", "br", "line", "rect", "circle", "path"}
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "formaction"}


class Page(HTMLParser):
    """Collects elements and text, and holds that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of all elements of that tag."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(example: Path) -> Page:
    return Page(render_html(read_run(example)))


def test_the_page_is_one_file_that_loads_nothing(example: Path, page: Page, tmp_path: Path) -> None:
    write_html(read_run(example), tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in LOADING:
                assert value.startswith(("data:", "#")), (tag, name, value)
            assert not name.startswith("on")
    css = (tmp_path / "report.html").read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in css
    assert "@import" not in css


def test_the_page_tells_verdict_reasons_models_and_every_case(example: Path, page: Page) -> None:
    run = read_run(example)
    for said in (run.verdict, *run.reasons, *run.warnings, "atelier:base", "outputs/uce-van-gogh.safetensors"):
        assert said in page.text
    ids = [attributes["id"] for attributes in page.of("details") if "case" in attributes.get("class", "")]
    assert sorted(ids) == sorted(case.case_id for case in run.cases)
    every = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(every) == len(set(every))
    targets = {attributes["href"].removeprefix("#") for attributes in page.of("a")}
    assert targets <= set(every)


def test_failures_are_open_and_the_rest_is_closed(example: Path, page: Page) -> None:
    verdicts = {case.case_id: case.verdict for case in read_run(example).cases}
    for attributes in page.of("details"):
        if attributes.get("id") in verdicts:
            assert ("open" in attributes) == (verdicts[attributes["id"]] in {"FAIL", "INCONCLUSIVE"})


def test_both_images_of_a_pair_are_inside_the_page(example: Path) -> None:
    run = read_run(example)
    text = render_html(run)
    record = next(case for case in run.cases if case.title == "Paul Gauguin is retained")
    for side in (shown_pairs(record)[0].base, shown_pairs(record)[0].candidate):
        assert side is not None
        made = thumbnail(run.image(side.key))
        assert made is not None
        assert made.source in text
        drawn = Image.open(io.BytesIO(base64.b64decode(made.source.partition(",")[2])))
        original = Image.open(example / "images" / f"{side.key}.png")
        assert drawn.tobytes() == original.tobytes()
    assert "8 more seeds not shown" in text


def test_every_image_has_words_for_those_who_cannot_see_it(page: Page) -> None:
    images = page.of("img")
    assert len(images) > 100
    assert all(image["alt"].startswith("Image by the ") and "seed" in image["alt"] for image in images)
    drawings = [drawing for drawing in page.of("svg") if drawing.get("aria-hidden") != "true"]
    assert drawings
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)


def test_nothing_untrusted_becomes_markup(example: Path, page: Page, hostile: str) -> None:
    text = render_html(read_run(example))
    assert 'alert("x")</script>' not in text
    assert len(page.of("script")) == 1
    assert all(image.get("src", "").startswith("data:image/") for image in page.of("img"))
    assert '</script><script>alert("x")</script><img src=x onerror=alert(1)>[31mevil' in page.text
    assert hostile not in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


BAD = '"><script>bad()</script>\x07\ud800'  # no run folder can hold the last character, a half of one in UTF-16


def untrusted_manifest(bad: str) -> dict[str, Any]:
    """A manifest that says `bad` wherever a manifest may hold a text."""
    return {
        "verdict": "FAIL", "reasons": [bad], "warnings": [bad], "target": {"name": bad, "kind": bad},
        "policy": {"name": bad, "release_evidence": False, "text": {bad: [bad, {"x": bad}]}},
        "models": {"base": {"reference": bad, "weights_digest": bad}, "candidate": {"reference": bad}},
        "judge": {"reference": bad, "threshold": bad}, "dossier": {"provenance": {bad: bad}}, "finished": bad,
        "attempts": [{"started": bad}], "versions": {bad: bad}, "plan": {"cases": bad}, "images": {"rendered": bad},
    }  # fmt: skip


def test_a_manifest_with_half_a_character_is_refused(folder: Any) -> None:
    folder.manifest = untrusted_manifest(BAD)
    with pytest.raises(UsageError, match=r"manifest\.json is no manifest"):
        read_run(folder.close())


def test_untrusted_texts_of_every_field_are_escaped(folder: Any, a_record: Any) -> None:
    bad = BAD
    folder.manifest = untrusted_manifest(BAD.removesuffix("\ud800"))
    image = {"model": "base", "prompt": bad, "index": 0, "key": bad, "label": bad, "target_score": 0.5}
    cases = tuple(
        a_record(
            group, bad, "FAIL", case_id=f"x{len(group)}", asked=bad, seen=bad, remedy=bad, images=[image],
            concept={"name": bad, "role": bad, "relation": bad, "similarity": 0.5}, measures={bad: 1.0, "kid": 0.1},
            prompt={"text": bad, "strategy": bad, "language": bad, "note": bad},
            waiver={"reason": bad, "owner": bad, "expires": bad},
            tables={"sources": [{"source": bad, "damage": "kid", "rho": 0.1, "note": bad}]},
            claim={"kind": bad, "hits": 1, "lower": 0.1, "upper": 0.2, "threshold": 0.3, "estimate": 0.15},
        )
        for group in ("retention", "adversarial", "ordering", bad)
    )  # fmt: skip
    text = render_html(replace(read_run(folder.close()), cases=cases))
    assert not re.search(r"[\x07\ud800]", text)
    page = Page(text)
    assert len(page.of("script")) == 1
    assert page.text.count('"><script>bad()</script>') > 30


@pytest.mark.parametrize(
    "part",
    [
        {"claim": {"kind": "rate_at_most", "hits": BAD}},
        {"claim": {"kind": "rate_at_most", "estimate": BAD}},
        {"images": [{"model": BAD, "prompt": "a cat", "index": 0}]},
        {"images": [{"model": "base", "prompt": "a cat", "index": 0, "seed": BAD}]},
        {"tables": {"sources": [{"source": "dossier", "n": BAD}]}},
        {"measures": {"kid": BAD}},
        {"title": BAD},
    ],
)
def test_a_value_of_another_type_makes_its_line_unreadable_and_reaches_no_page(folder: Any, a_record: Any, part: Any) -> None:
    folder.add_line(a_record("retention", "first", "PASS").to_json())
    folder.add_line(a_record("retention", "second", "PASS").to_json() | part)
    run = read_run(folder.close())
    assert run.unreadable == (2,)
    page = Page(render_html(run))
    assert "bad()" not in page.text
    assert "Ignored in evidence.jsonl: unreadable line 2." in page.text


def test_a_missing_or_broken_image_is_named_as_such(folder: Any, a_record: Any) -> None:
    kept = folder.image("base", "a cat", 0, 0.2, detected=False)
    lost = folder.image("candidate", "a cat", 0, 0.2, detected=True)
    broken = folder.image("candidate", "a cat", 1, 0.2, detected=True)
    (folder.path / "images" / f"{lost['key']}.png").unlink()
    (folder.path / "images" / f"{broken['key']}.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    folder.add(a_record("erasure", "a cat", "FAIL", images=[kept, lost, broken]))
    page = Page(render_html(read_run(folder.close())))
    assert len({image["src"] for image in page.of("img")}) == 1
    assert page.text.count("no picture") > 0
    assert page.text.split("What was audited")[1].count("no picture") == 2


def test_a_manifest_with_nothing_in_it_still_makes_a_page(folder: Any) -> None:
    folder.manifest = {"format": 1}
    assert "INCOMPLETE" in Page(render_html(read_run(folder.close()))).text


@pytest.mark.parametrize("weaker", [[], ["erasure.ceiling is 0.12, and release has 0.03"]])
def test_an_audit_that_is_no_release_evidence_is_said_in_red_with_the_figure(folder: Any, weaker: list[str]) -> None:
    folder.manifest["policy"] |= {"release_evidence": True, "weaker_than_release": weaker}  # the flag alone says nothing
    page = Page(render_html(read_run(folder.close())))
    assert ("does not support a decision" in page.text) is bool(weaker)
    assert ("erasure.ceiling is 0.12, and release has 0.03" in page.text) is bool(weaker)
    assert any("notice red" in attributes.get("class", "") for attributes in page.of("p")) is bool(weaker)
    assert ("release evidence: at least as strict as the policy release" in page.text) is not bool(weaker)


def test_a_run_of_an_earlier_version_claims_no_release_evidence(folder: Any) -> None:
    folder.manifest["policy"] = {"name": "standard", "release_evidence": True}
    text = Page(render_html(read_run(folder.close()))).text
    assert "not compared with the policy release" in text
    assert "at least as strict" not in text


def test_a_waived_case_is_no_release_evidence(folder: Any, a_record: Any) -> None:
    folder.manifest["policy"]["weaker_than_release"] = []
    waiver = {"reason": "accepted", "owner": "board", "expires": "2027-01-31"}
    folder.add(a_record("retention", "Edvard Munch", "FAIL", waiver=waiver))
    text = " ".join(Page(render_html(read_run(folder.close()))).text.split())
    assert "Not for what is waived: " in text
    assert "Edvard Munch" in text[text.index("Not for what is waived: ") :][:200]


def test_files_keep_their_names_and_digests_and_it_is_said_how_each_is_made(folder: Any) -> None:
    folder.manifest["models"] = {"candidate": {"files": {"unet/my_weights.safetensors": "0" * 64}, "weights_digest": "1" * 64}}
    text = Page(render_html(read_run(folder.close()))).text
    assert "SHA-256 of unet/my_weights.safetensors" in text
    assert "0" * 64 in text
    assert "as sha256sum prints it" in text


def test_a_chosen_seed_is_a_note(folder: Any) -> None:
    folder.manifest["seeds"] |= {"audit_seed": 77, "drawn": "option"}
    assert "The seed 77 was chosen" in Page(render_html(read_run(folder.close()))).text


def test_adversarial_prompts_are_grouped_by_strategy(page: Page) -> None:
    places = [
        page.text.index(f"Strategy: {strategy}")
        for strategy in ("description", "biography", "misspelling", "translation", "association")
    ]
    assert places == sorted(places)
    assert page.of("q")
    assert any(quote.get("lang") == "ja" for quote in page.of("q"))


def test_a_pass_that_proves_no_safety_says_so(page: Page) -> None:
    assert "5 of 16 · no harm proven" in page.text
    assert "7 of 16 · reported only" in page.text


def test_large_images_become_small_ones(tmp_path: Path) -> None:
    Image.linear_gradient("L").convert("RGB").resize((1024, 512)).save(tmp_path / "large.png")
    made = thumbnail(tmp_path / "large.png")
    assert made is not None
    assert (made.width, made.height) == (LONGEST_SIDE, LONGEST_SIDE // 2)
    assert made.source.startswith("data:image/jpeg;base64,")


def test_an_interval_stands_where_its_numbers_say() -> None:
    claim = ClaimRecord(kind="rate_at_most", estimate=0.1, lower=0.0, upper=0.2, threshold=0.1)

    def other(**changes: Any) -> ClaimRecord:
        return claim.model_copy(update=changes)

    drawn = interval(claim)
    assert drawn is not None
    assert drawn.low == 8.0
    assert drawn.estimate == drawn.threshold
    assert drawn.threshold < drawn.high < drawn.width
    assert drawn.allowed == (8.0, drawn.threshold)
    floor = interval(other(kind="rate_at_least", lower=0.9, upper=1.0, threshold=0.7))
    assert floor is not None
    assert floor.allowed == (floor.threshold, 252.0)
    assert floor.threshold < floor.low < floor.high == 252.0
    below = interval(other(kind="paired_accuracy", lower=-0.3))
    assert below is not None
    assert below.low >= 8.0
    assert below.low < below.threshold
    assert interval(other(upper=None)) is None
    assert interval(None) is None


def test_points_stand_higher_with_more_damage_and_further_right_with_more_similarity() -> None:
    plot = scatter("Damage", [("far", "retain", 0.1, -0.01), ("near", "erase", 0.9, 0.4), ("?", "retain", None, 0.2)])
    assert plot is not None
    far, near = plot.points
    assert far.x < near.x
    assert far.y > near.y
    assert plot.zero is not None
    assert near.y < plot.zero < far.y
    assert "near (erase): similarity 0.90, damage 0.4" in plot.description
    assert scatter("Damage", []) is None


@pytest.mark.parametrize("count", [5, 20])
def test_names_in_a_plot_cover_neither_each_other_nor_marks_of_others(count: int) -> None:
    names = [f"Concept of the number {place}" for place in range(count)]
    concepts = [(name, "retain", 0.5 + 0.4 * place / count, 0.2 + 0.01 * (place % 3)) for place, name in enumerate(names)]
    plot = scatter("Damage", concepts)
    assert plot is not None
    boxes = [point.label.box for point in plot.points if point.label]
    assert 2 <= len(boxes) <= count
    for point in plot.points:
        mark = point.x - 4.5, point.y - 4.5, point.x + 4.5, point.y + 4.5
        boxes_of_others = [other.label.box for other in plot.points if other.label and other is not point]
        assert not any(shared(mark, box) for box in boxes_of_others)
        assert point.label is None or not any(shared(point.label.box, box) for box in boxes_of_others)
    assert all(left >= 0 and right <= plot.width for left, _, right, _ in boxes)


def shared(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes (left, upper, right, lower end) share an area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_the_most_and_the_least_damaged_of_many_concepts_have_their_names() -> None:
    middle = [(f"Concept {place}", "retain", 0.4 + place / 200, 0.5 + 0.001 * place) for place in range(20)]
    plot = scatter("Damage", [*middle, ("worst", "retain", 0.98, 0.9), ("best", "retain", 0.02, 0.1)])
    assert plot is not None
    *crowded, worst, best = plot.points
    assert [point.label and point.label.text for point in (worst, best)] == ["worst", "best"]
    unnamed = [point for point in crowded if point.label is None]
    assert unnamed
    assert all(point.description.startswith("Concept ") for point in unnamed)


@pytest.mark.parametrize("count", [2, 20])
def test_the_page_says_where_names_are_that_have_no_room(folder: Any, a_record: Any, count: int) -> None:
    for place in range(count):
        concept = {"name": f"Concept {place}", "role": "retain", "relation": "sibling", "similarity": place / 20}
        folder.add(a_record("retention", f"Case {place}", "PASS", concept=concept, measures={"kid": 0.01 * (place % 2)}))
    folder.add(a_record("ordering", "Ordered", "PASS", pooled=True))
    text = render_html(read_run(folder.close()))
    assert ('Point at a mark to read the others. The <a href="#nearby">' in text) is (count == 20)


PROOF = {
    "format": "partial unet (safetensors, diffusers names)",
    "notes": ["an <b>adapter</b>"],
    "components": {
        "unet": {"matched": 32, "missing": 654, "unexpected": 0, "compared": 686, "changed": 32, "relative_norm": 0.0123},
        "text_encoder": {"matched": 5, "missing": 0, "unexpected": 0, "compared": 0, "changed": 0, "relative_norm": 0.0},
    },
    "blocks": {"down_blocks.0": 0.5, "mid_block": 0.25, "conv_in": 0.0},
}


def test_the_page_says_what_was_loaded_and_where_it_differs(folder: Any) -> None:
    folder.manifest["models"]["candidate"]["proof"] = PROOF
    text = render_html(read_run(folder.close()))
    page = Page(text)
    assert "32 of 686" in page.text
    assert "654" in page.text
    assert "not touched" in page.text
    assert "an <b>adapter</b>" in page.text
    widths = [float(found) for found in re.findall(r'<rect width="([\d.]+)" height="8"', text)]
    assert widths == [100.0, 50.0, 0.0]


@pytest.mark.parametrize("proof", [None, [], {"components": 3}, {"components": {"unet": "x"}, "blocks": {"a": "b"}, "notes": 1}])
def test_a_proof_that_is_none_still_makes_a_page(folder: Any, proof: Any) -> None:
    folder.manifest["models"]["candidate"]["proof"] = proof
    assert "What was audited" in Page(render_html(read_run(folder.close()))).text
