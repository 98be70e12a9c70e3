"""The page's table of distances and quality, and noise floors in its plots: only where a run has measured them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dmun_audit.evidence.run import read_run
from dmun_audit.report.html import render_html
from dmun_audit.report.html.drawings import floor_bar, scatter
from dmun_audit.report.html.measured import view_measured

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
    assert "Left out of evidence.jsonl as unreadable: line 3." in text
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
