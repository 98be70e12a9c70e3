"""The worked example shows what its two audits come to: the figures of the golden files, which hold every outcome of them."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "worked-example.md").read_text("utf-8")
SECTIONS = {"uce-van-gogh": "## A model that passes", "damaged": "## A model that fails"}
GROUP = re.compile(r"^(?P<group>[a-z_]+) +(?P<cases>\d+) cases? +(?P<rest>.*(?:\n {12,}.*)*)$", re.MULTILINE)


def lines_of_groups(model):
    """The lines of the terminal's table in the section of a model, by group, each as one line."""
    start = PAGE.index(SECTIONS[model])
    (table,) = re.findall(
        r"^```text\n(controls .*?)^```$", PAGE[start : PAGE.index("\n## ", start + 1)], re.MULTILINE | re.DOTALL
    )
    return {line["group"]: (int(line["cases"]), " ".join(line["rest"].split())) for line in GROUP.finditer(table)}


def golden(model):
    """What the audit of a model comes to: its verdict, and verdict, hits, trials and outcomes of each case."""
    return json.loads((ROOT / "tests" / "golden" / f"{model}.json").read_text("utf-8"))


@pytest.mark.parametrize("model", SECTIONS)
def test_every_claim_over_a_group_is_one_of_the_audit(model):
    claims = {(hits, trials) for _, hits, trials, outcomes in golden(model)["cases"].values() if outcomes is None}
    shown = [
        (int(hits), int(of)) for _, line in lines_of_groups(model).values() for hits, of in re.findall(r"(\d+) of (\d+)", line)
    ]
    assert len(shown) >= 4
    assert [claim for claim in shown if claim not in claims] == []


@pytest.mark.parametrize("model", SECTIONS)
def test_each_group_says_the_verdicts_of_all_its_cases(model):
    for cases, line in lines_of_groups(model).values():
        counted = re.findall(r"(\d+) [A-Z]", line.split("|")[0])
        assert sum(map(int, counted)) == cases


def test_the_whole_table_of_the_model_that_passes_is_shown():
    table = lines_of_groups("uce-van-gogh")
    assert sum(cases for cases, _ in table.values()) == len(golden("uce-van-gogh")["cases"])
    assert golden("uce-van-gogh")["verdict"] == "PASS"
    assert golden("damaged")["verdict"] == "FAIL"


def test_its_pictures_are_small():
    pictures = list((ROOT / "docs" / "explanation" / "pictures").glob("*.png"))
    assert {f"pictures/{picture.name}" for picture in pictures} == set(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE))
    assert all(picture.stat().st_size < 150_000 for picture in pictures)
