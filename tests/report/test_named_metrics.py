"""The page's table of metrics that the user named: titles, values with their uncertainty, and on how many images they rest."""

from __future__ import annotations

import re
from typing import Any

from dmun_audit.evidence.run import read_run
from dmun_audit.report.html import render_html
from dmun_audit.report.html.named_metrics import measure_title, view_named_metrics

SCORES = {"base": 0.61, "candidate": 0.55, "difference": -0.06, "standard_error": 0.013, "images": 16.0}
DISTANCES = {"": 210.0, ".images": 16.0, ".features": 1024.0, ".real_base": 300.5, ".real_candidate": 410.0, ".real_images": 50.0}
HPS = {f"hps.{part}": value for part, value in SCORES.items()}
FD = {f"fd_dinov2{part}": value for part, value in DISTANCES.items()}
LABELS = {
    "labels_gender.total_variation": 0.25, "labels_gender.images": 16.0,
    "labels_gender.base.female": 0.5, "labels_gender.base.male": 0.5,
    "labels_gender.candidate.female": 0.25, "labels_gender.candidate.male": 0.75,
}  # fmt: skip
NAMED = [
    {"name": "fd_dinov2", "reference": "frechet:dinov2-large#photos", "digest": "0" * 64},
    {"name": "hps", "reference": "hps:HPS_v2.1_compressed.pt", "digest": "1" * 64},
    {"name": "labels_gender", "reference": "labels:gender", "digest": "2" * 64},
]


def add_concept(folder: Any, a_record: Any, name: str, measures: dict[str, float]) -> None:
    concept = {"name": name, "role": "retain", "relation": "sibling", "similarity": 0.4}
    folder.add(a_record("retention", f"{name} is retained", "PASS", concept=concept, measures=measures))


def page(folder: Any, named: list[dict[str, str]]) -> str:
    folder.manifest["metrics"] = named
    return render_html(read_run(folder.close()))


def table(text: str) -> str:
    return text[text.index('id="metrics"') :].partition("</p>")[0]


def test_each_metric_has_its_columns_in_the_order_of_the_command(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", {"lpips": 0.3, **LABELS, **HPS, **FD})
    text = page(folder, NAMED)
    found = table(text)
    headings = re.findall(r'<th scope="col">([^<]+)<br><span class="quiet">([^<]+)<', found)
    assert headings == [
        ("FD-DINOv2", "base to candidate"), ("FD-DINOv2", "from real images: base → candidate"), ("HPS", "base → candidate"),
        ("Labels of gender", "total variation distance"),
    ]  # fmt: skip
    cells = re.findall(r"<td>(.*?)</td>", found)
    assert cells == [
        '210 <span class="quiet">16 pairs</span>', "300 → 410", '0.61 → 0.55 <span class="quiet">−0.06 ± 0.013</span>',
        '0.25 <span class="quiet">female 50% → 25%, male 50% → 75%, 16 pairs</span>',
    ]  # fmt: skip
    assert "fewer than its 1,024 features" in found
    assert "± is the standard error" in found
    assert "biased upward" in found
    assert found.count("higher is better") == 1
    assert 'metric <span class="code">hps:HPS_v2.1_compressed.pt</span>' in text
    assert 'id="measured"' in text  # LPIPS keeps its place in the other table


def test_with_more_images_than_features_nothing_is_warned_of(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", FD | {"fd_dinov2.images": 5000.0})
    assert "fewer than its" not in table(page(folder, NAMED))


def test_metrics_of_other_packages_stand_in_the_table_too(folder: Any, a_record: Any) -> None:
    add_concept(
        folder, a_record, "Klimt", {"contrast.base": 60.0, "contrast.candidate": 61.5, "sharpness": 0.25, "sharpness.p": 0.5}
    )
    found = table(page(folder, []))
    assert re.findall(r"<td>(.*?)</td>", found) == ["60 → 61.5", "0.25", "0.5"]


def test_a_value_of_one_side_alone_has_a_column_of_its_own(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", {"contrast.base": 60.0, "grain.difference": 2.5})
    found = table(page(folder, []))
    assert re.findall(r'<th scope="col">([^<]+)<br><span class="quiet">([^<]+)<', found) == [
        ("contrast", "base"),
        ("grain", "difference"),
    ]
    assert re.findall(r"<td>(.*?)</td>", found) == ["60", "2.5"]


def test_of_many_labels_those_are_shown_that_changed_most(folder: Any, a_record: Any) -> None:
    sides = {"base": [0.2, 0.2, 0.2, 0.2, 0.2, 0.0], "candidate": [0.2, 0.0, 0.3, 0.1, 0.15, 0.25]}
    shares = {f"labels_age.{side}.l{place}": value for side, each in sides.items() for place, value in enumerate(each) if value}
    add_concept(folder, a_record, "Klimt", shares | {"labels_age.total_variation": 0.35})
    found = table(page(folder, [{"name": "labels_age", "reference": "labels:age"}]))
    assert "l1 20% → 0%, l2 20% → 30%, l3 20% → 10%, l5 0% → 25%<" in found


def test_a_run_without_such_metrics_has_no_such_table(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", {"lpips": 0.3, "kid": 0.1, "clip_score_base": 0.4, "clip_score_candidate": 0.4})
    assert 'id="metrics"' not in page(folder, [])
    assert view_named_metrics([], NAMED) is None


def test_a_concept_without_the_value_has_a_dash(folder: Any, a_record: Any) -> None:
    add_concept(folder, a_record, "Klimt", HPS)
    add_concept(folder, a_record, "Monet", {})
    assert re.findall(r"<td>(.*?)</td>", table(page(folder, NAMED)))[-1] == "– → –"


def test_a_case_names_the_values_in_words() -> None:
    assert measure_title("clip_fid.images") == "CLIP-FID, pairs of images"
    assert measure_title("hps.difference") == "HPS, candidate minus base, mean over pairs"
    assert measure_title("labels_skin_tone.base.dark") == "Labels of skin-tone, base, dark"
    assert measure_title("contrast") == "contrast"
