"""The page's table of distances and quality, and noise floors in its plots: only where a run has measured them."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

import pytest

from dmun_audit.evidence.ordering_messages import Sample, ranking_sentences
from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.schema import Correlation, SourceDifference
from dmun_audit.report.html import render_html
from dmun_audit.report.html.drawings import floor_bar, scatter
from dmun_audit.report.html.measured import view_measured
from dmun_audit.report.text import summary_lines

ABOVE = {"kid_paired": 0.02, "kid_unpaired": 0.021, "kid_noise_floor": 0.007}
BELOW = {"kid_paired": 0.003, "kid_unpaired": -0.002, "kid_noise_floor": 0.0105}


def add_concept(folder: Any, a_record: Any, name: str, **measures: Any) -> None:
    concept = {"name": name, "role": "retain", "relation": "sibling", "similarity": 0.4}
    folder.add(a_record("retention", f"{name} is retained", "PASS", concept=concept, measures=measures))


def rendered(folder: Any, a_record: Any) -> str:
    sources = [{"source": "dossier", "damage": damage, "rho": 0.5, "n": 2} for damage in ("kid", "lpips")]
    folder.add(a_record("ordering", "Ordered", "PASS", pooled=True, tables={"sources": sources}))
    return render_html(read_run(folder.close()))


def table(text: str) -> str:
    return text[text.index('id="measured"') : text.index("</table>", text.index('id="measured"'))]


def test_kid_stands_beside_its_noise_floor_and_is_strong_above_it(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", **ABOVE)
    add_concept(folder, a_record, "Monet", **BELOW)
    found = table(rendered(folder, a_record))
    assert '<strong>0.021</strong> <span class="quiet">floor 0.007</span>' in found
    assert '-0.002 <span class="quiet">floor 0.01' in found
    assert found.count('class="floor-bar above"') == 1
    assert found.count('class="floor-bar"') == 1


def test_a_run_without_such_measures_has_no_such_table(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", kid=0.1, kid_paired=0.1)
    text = rendered(folder, a_record)
    assert 'id="measured"' not in text
    assert 'class="floor"' not in text
    assert "LPIPS between base and candidate</h3>" not in text


def test_every_measure_has_a_column_where_any_concept_has_it(folder: Any, a_record: Any) -> None:
    quality = {"clip_iqa_base": 0.71, "clip_iqa_candidate": 0.55, "collapsed_base": 0.0, "collapsed_candidate": 0.25}
    add_concept(folder, a_record, "Klimt", lpips=0.31, cmmd_paired=4.4)
    add_concept(folder, a_record, "Monet", **quality)
    text = rendered(folder, a_record)
    found = table(text)
    assert re.findall(r'<th scope="col">([^<]+)<', found) == ["Concept", "CMMD, paired", "LPIPS", "CLIP-IQA", "Empty images"]
    assert "<td>0.71 → 0.55</td><td>0% → 25%</td>" in found
    assert "<td>4.4</td><td>0.31</td><td>– → –</td><td>– → –</td>" in found
    assert "<h3>LPIPS between base and candidate</h3>" in text
    assert "CMMD between base and candidate</h3>" not in text  # KID on another scale
    assert "LPIPS, mean over pairs" in text
    assert "LPIPS is 0 for equal images" in text
    assert "The noise floor is the effect of seeds alone" not in text  # no column has one


def test_orderings_have_a_column_for_every_damage_that_was_correlated(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", kid_paired=0.1, lpips=0.2)
    text = rendered(folder, a_record)
    ordered = text[text.index('class="orderings"') :]
    columns = re.findall(r'<th scope="col">([^<]+)<', ordered)
    assert columns == ["Similarity by", "KID between base and candidate", "LPIPS between base and candidate"]


def test_measures_that_a_concept_lacks_are_dashes(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", **ABOVE, lpips=0.3)
    add_concept(folder, a_record, "Monet")
    assert "<td>–</td><td>–</td>" in table(rendered(folder, a_record))


@pytest.mark.parametrize("value", [None, float("nan"), "<b>much</b>", True, [1]])
def test_values_that_are_no_numbers_make_their_line_unreadable(folder: Any, a_record: Any, value: Any) -> None:
    add_concept(folder, a_record, "Klimt", **ABOVE, lpips=0.3)
    add_concept(folder, a_record, "Monet", **BELOW, lpips=0.2)
    folder.add_line(a_record("retention", "Seurat is retained", "PASS").to_json() | {"measures": {"lpips": value}})
    text = rendered(folder, a_record)
    assert "Ignored in evidence.jsonl: unreadable line 3." in text
    assert "much" not in text
    assert "Seurat" not in text


def test_a_bar_ends_where_its_distance_stands_on_the_common_scale() -> None:
    bar = floor_bar(0.02, 0.01, 0.04)
    assert bar.length == pytest.approx((bar.width - 2) / 2)
    assert bar.floor - 1 == pytest.approx(bar.length / 2)
    assert floor_bar(-0.5, 0.01, 0.04).length == 0.0
    assert floor_bar(0.0, 0.0, 0.0).length == 0.0


def test_floors_stand_at_the_height_of_their_value_and_inside_the_plot() -> None:
    concepts = [("low", "retain", 0.2, 0.1), ("unknown", "retain", 0.4, None), ("high", "retain", 0.6, 0.2)]
    plot = scatter("Damage", concepts, [0.2, 0.3, 0.5])
    assert plot is not None
    low, high = plot.points
    assert low.floor == pytest.approx(high.y)
    assert high.floor is not None
    assert plot.top <= high.floor < high.y
    assert "noise floor 0.5" in high.description
    assert all(point.floor is None for point in scatter("Damage", concepts).points)  # type: ignore[union-attr]


def test_no_concept_makes_no_table() -> None:
    assert view_measured([]) is None


def ordered(folder: Any, a_record: Any, p_holm: float, model: str = "") -> Any:
    """A run with two sources of similarity, the first of which has the higher correlation with KID."""
    add_concept(folder, a_record, "Klimt", kid_paired=0.1)
    rows = [
        {"source": f"language model {name}", "model": model, "damage": "kid", "rho": rho, "lower": rho - 0.3, "upper": rho + 0.1,
         "p_value": 0.02, "p_holm": 0.04, "n": 25, "needed": needed}
        for name, rho, needed in (("<a>", 0.7, 13), ("b", -0.1, None))
    ]  # fmt: skip
    pair = {"damage": "kid", "first": "language model <a>", "second": "language model b", "difference": 0.8, "lower": 0.2,
            "upper": 1.3, "p_value": p_holm / 2, "p_holm": p_holm, "n": 25, "needed": 18}  # fmt: skip
    folder.add(a_record("ordering", "Ordered", "PASS", tables={"sources": rows, "differences": [pair]}))
    return read_run(folder.close())


@pytest.mark.parametrize(
    ("p_holm", "words"),
    [
        (0.01, "Language model <a> predicts it better than language model b."),
        (0.2, "No source can be told from another with 25 concepts."),
    ],
)
def test_the_page_says_which_source_comes_first_and_whether_it_can_be_told_from_others(
    folder: Any, a_record: Any, p_holm: float, words: str
) -> None:
    text = render_html(ordered(folder, a_record, p_holm))
    sentence = f"KID: language model <a> comes first (ρ = +0.70, 95% interval +0.40 to +0.80). {words}"
    more = (
        "A single test needs about 13 concepts to show a ρ of +0.70, and 25 are at hand. "
        "A single test needs about 18 concepts to tell the two best apart, and 25 are at hand" + (";" if p_holm > 0.05 else ".")
    )
    more += " among all pairs, its adjusted p (Holm) is 0.2." if p_holm > 0.05 else ""
    assert f"<li>{escape(f'{sentence} {more}')}</li>" in text
    found = text[text.index('<table class="differences">') :].partition("</table>")[0]
    assert "<td>language model &lt;a&gt;</td><td>language model b</td>" in found
    assert f"<td>{p_holm / 2:.2g} ({p_holm:.2g})</td><td>about 18</td>" in found
    folded = text[text.index('<details class="folded">') :].partition("</details>")[0]
    assert '<table class="differences">' in folded


def test_the_terminal_ranks_sources_only_where_models_ordered_the_concepts(folder: Any, a_record: Any, tmp_path: Path) -> None:
    ranking = "KID: language model <a> comes first"
    assert ranking not in " ".join(summary_lines(ordered(folder, a_record, 0.2)))
    other = type(folder)(tmp_path / "other")
    assert ranking in " ".join(summary_lines(ordered(other, a_record, 0.2, model="org/a")))


@pytest.mark.parametrize("rho", [0.0, -0.4])
def test_no_number_of_concepts_is_promised_where_no_source_predicts_the_damage(rho: float) -> None:
    rows = [Correlation(source=name, damage="kid", rho=rho - place, n=9) for place, name in enumerate("ab")]
    (sentence,) = ranking_sentences(rows, [], Sample("9 concepts"))
    assert sentence.startswith("KID: no source predicts it: the highest is a (ρ = ")
    assert sentence.endswith("No number of concepts would show that damage rises with similarity at such a ρ.")


def test_a_number_beyond_any_dossier_is_said_to_be_so() -> None:
    rows = [Correlation(source=name, damage="lpips", rho=rho, n=9) for name, rho in (("a", 0.05), ("b", 0.04))]
    pair = SourceDifference(damage="lpips", first="a", second="b", difference=0.01, n=9, p_holm=1.0)
    (sentence,) = ranking_sentences(rows, [pair], Sample("9 concepts"))
    assert sentence.endswith(
        "It would take more than 500 concepts to show a ρ of +0.05. It would take more than 500 concepts to tell the two best apart."
    )
    alike = [rows[0], rows[1].model_copy(update={"rho": 0.05})]
    (sentence,) = ranking_sentences(alike, [pair.model_copy(update={"difference": 0.0})], Sample("9 concepts"))
    assert "LPIPS: a and b come first" in sentence
    assert sentence.endswith("The best do not differ, so no number of concepts would tell them apart.")


@pytest.mark.parametrize(
    ("needed", "targets", "words"),
    [
        (8, 1, "A single test needs about 8 concepts to show a ρ of +0.90, and 8 are at hand."),
        (9, 1, "It would take about 9 concepts to show a ρ of +0.90."),
        (5, 2, "A single test needs about 5 concepts of one target to show a ρ of +0.90, and 8 of 2 targets are at hand."),
        (6, 2, "It would take about 6 concepts of one target to show a ρ of +0.90."),
    ],
)
def test_what_is_at_hand_is_not_asked_for(needed: int, targets: int, words: str) -> None:
    row = Correlation(source="a", damage="lpips", rho=0.9, n=8, needed=needed)
    (sentence,) = ranking_sentences([row], [], Sample("8 concepts", targets))
    assert sentence.endswith(words)


@pytest.mark.parametrize(
    ("difference", "needed", "words"), [(0.1, None, "more than 500"), (0.0, None, "no number"), (0.5, 40, "about 40")]
)
def test_the_table_of_pairs_has_the_words_of_the_sentences(
    folder: Any, a_record: Any, difference: float, needed: int | None, words: str
) -> None:
    add_concept(folder, a_record, "Klimt", kid_paired=0.1)
    rows = [{"source": name, "damage": "kid", "rho": 0.5, "n": 9} for name in "ab"]
    pair = {"damage": "kid", "first": "a", "second": "b", "difference": difference, "n": 9, "p_holm": 1.0, "needed": needed}
    folder.add(a_record("ordering", "Ordered", "PASS", tables={"sources": rows, "differences": [pair]}))
    assert f"<td>{words}</td></tr>" in render_html(read_run(folder.close()))


def test_the_table_of_sources_names_their_models_in_full(folder: Any, a_record: Any) -> None:
    text = render_html(ordered(folder, a_record, 0.2, model="org/b"))
    assert '<th scope="row">language model b <span class="quiet">org/b</span></th>' in text
