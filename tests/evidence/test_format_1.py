"""What version 0.1.0 left still opens: a real run folder of it stands beside this file, without its images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import xmlschema

import dmun_audit
from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run import Run, read_run
from dmun_audit.evidence.run_folder import RunFolder
from dmun_audit.report.html import render_html
from dmun_audit.report.junit import write_junit
from dmun_audit.report.text import failure_text, summary_lines
from dmun_audit.verdict.vocabulary import Burden

FOLDER = Path(__file__).parent / "format_1"
JUNIT = Path(__file__).parents[1] / "report" / "junit-10.xsd"


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(FOLDER)


@pytest.fixture(scope="module")
def lines() -> dict[str, dict[str, Any]]:
    """The last line of every case, as it stands in the file."""
    every = map(json.loads, (FOLDER / "evidence.jsonl").read_text().splitlines())
    return {line["case_id"]: line for line in every}


def test_its_verdict_and_its_cases_are_read(run: Run, lines: dict[str, Any]) -> None:
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    assert manifest["format"] == run.manifest.format == 1
    assert (run.verdict, run.manifest.exit_code, list(run.reasons)) == (manifest["verdict"], 1, manifest["reasons"])
    assert len(run.cases) == len(lines) == manifest["evidence"]["cases"] == 39
    assert not run.altered
    assert run.unreadable == ()


def test_every_value_is_what_the_file_says(run: Run, lines: dict[str, Any]) -> None:
    for case in run.cases:
        assert _without_nulls(case.to_json(), lines[case.case_id]) == _without_nulls(lines[case.case_id])


def _without_nulls(value: Any, like: Any = None) -> Any:
    """`value` without nulls and empty parts, with the burden spelt as today; of objects only the keys of `like`, if given."""
    if isinstance(value, dict):
        names = value if like is None else [name for name in value if name in like]
        inner = {name: _without_nulls(value[name], like and like[name]) for name in names}
        return {name: part for name, part in inner.items() if part not in (None, {}, [], ())}
    if isinstance(value, list):
        return [_without_nulls(part, like and like[place]) for place, part in enumerate(value)]
    return "prove safe" if value == "prove safety" else value


def test_the_burden_has_one_spelling(run: Run, lines: dict[str, Any]) -> None:
    spelt = {claim.get("burden") for line in lines.values() if (claim := line["claim"])}
    assert "prove safety" in spelt
    assert {case.claim.burden for case in run.cases if case.claim and case.claim.burden} == {Burden.PROVE_SAFE, Burden.PROVE_HARM}


def test_all_reports_are_made_of_it(run: Run, tmp_path: Path) -> None:
    page = render_html(run)
    assert all(f'id="{case.case_id}"' in page for case in run.cases)
    write_junit(run, tmp_path / "junit.xml")
    xmlschema.validate(str(tmp_path / "junit.xml"), str(JUNIT))
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert int(root.get("tests", "")) == len(run.cases)
    assert int(root.get("failures", "")) == sum(case.is_failure for case in run.cases) > 0
    assert any(line.startswith(f"VERDICT {run.verdict}") for line in summary_lines(run))
    assert all(failure_text(case) for case in run.cases)


def test_the_api_opens_it(run: Run) -> None:
    result = dmun_audit.load_run(FOLDER)
    assert (result.verdict, result.cases) == (run.verdict, run.cases)


def test_its_audit_goes_on_in_its_folder_and_keeps_what_is_not_run_again(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "run")
    before = read_run(tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    folder.open(before.manifest.audit_hash)
    first, *others = before.cases
    folder.append(first)
    folder.conclude([first])
    after = read_run(tmp_path / "run")
    assert list(after.cases) == [first, *others]
    assert len((tmp_path / "run" / "evidence.jsonl").read_text().splitlines()) == len(before.cases)


@pytest.mark.parametrize("number", [0, 4, 99, "2", None])
def test_a_format_that_this_version_does_not_read_is_one_clear_error(tmp_path: Path, number: object) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": number, "something": "new"}))
    with pytest.raises(UsageError) as raised:
        read_run(tmp_path)
    assert f"manifest.json has format {number!r}" in raised.value.what
    assert raised.value.why == "this version of dmun_audit reads the formats 1, 2, 3"
    assert raised.value.remedy == "use the version of dmun_audit that wrote it"
