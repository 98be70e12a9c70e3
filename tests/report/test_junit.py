"""The JUnit file is valid, counts what it says, and cannot tell a CI that an incomplete audit is well."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import xmlschema

from dmun_audit.evidence.run import Run, read_run
from dmun_audit.report.junit import write_junit
from dmun_audit.report.text import groups_of

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parent / "junit-10.xsd"))


def written(run: Run, folder: Path) -> ET.Element:
    """Write, validate, parse."""
    path = folder / "junit.xml"
    write_junit(run, path)
    SCHEMA.validate(str(path))
    return ET.parse(path).getroot()


def test_the_schema_refuses_what_jenkins_refuses(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(
        '<testsuite name="a" tests="1" failures="0" errors="0"><testcase name="b"><properties/></testcase></testsuite>'
    )
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        SCHEMA.validate(str(path))


def test_every_case_is_there_and_the_counts_hold(example: Path, tmp_path: Path) -> None:
    run = read_run(example)
    root = written(run, tmp_path)
    assert [suite.get("name") for suite in root] == groups_of(run)
    for suite in root:
        verdicts = Counter(case.verdict for case in run.of_group(str(suite.get("name"))))
        assert int(suite.get("tests", "")) == len(suite.findall("testcase")) == verdicts.total()
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("failures", "")) == verdicts["FAIL"] + verdicts["INCONCLUSIVE"]
        assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped")) == verdicts["VACUOUS"]
    assert {case.get("name") for case in root.iter("testcase")} == {case.case_id for case in run.cases}
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("32", "3", "0")


def test_a_failure_says_claim_result_remedy_and_where_the_images_are(example: Path, tmp_path: Path) -> None:
    failure = next(element for element in written(read_run(example), tmp_path).iter("failure") if element.get("type") == "FAIL")
    assert "\n" not in failure.get("message", "")
    assert "4 of 8" in failure.get("message", "")
    for part in ("claim:", "result:", "do:", "images/"):
        assert part in (failure.text or "")


def test_a_group_of_one_pooled_failure_shows_it(folder: Any, a_record: Any, tmp_path: Path) -> None:
    folder.add(a_record("erasure", "together", "FAIL", pooled=True, seen="9 of 9."))
    root = written(read_run(folder.close()), tmp_path)
    assert [element.get("message") for element in root.iter("failure")] == ["FAIL: together: 9 of 9."]


@pytest.mark.parametrize("verdict", ["INCOMPLETE", "PARTIAL"])
def test_an_audit_that_lacks_cases_fails_though_no_case_does(folder: Any, a_record: Any, tmp_path: Path, verdict: str) -> None:
    folder.add(a_record("erasure", "fine", "PASS"))
    folder.manifest |= {"verdict": verdict, "reasons": ["2 planned cases never reported."]}
    root = written(read_run(folder.close()), tmp_path)
    assert [(suite.get("name"), suite.get("failures")) for suite in root] == [("erasure", "0"), ("audit", "1")]
    assert root.get("failures") == "1"
    failure = next(root.iter("failure"))
    assert failure.get("message") == f"{verdict}: 2 planned cases never reported."


def test_texts_that_xml_cannot_hold_are_cleaned(folder: Any, a_record: Any, tmp_path: Path) -> None:
    strange = "a\x00b\x1b[2J\ud800\ufffe\ufdd0\U0001ffff]]> <&\"' \u202e\x85 é 世"
    cases = tuple(
        a_record("erasure", strange, verdict, case_id=verdict, asked=strange, seen=strange, remedy=strange)
        for verdict in ("FAIL", "VACUOUS", "PASS")
    )  # not through the folder: half a character of UTF-16 makes a line unreadable
    root = written(replace(read_run(folder.close()), cases=cases), tmp_path)
    said = [next(root.iter("failure")).get("message"), next(root.iter("skipped")).get("message")]
    for message in said:
        assert message is not None
        assert "ab[2J]]> <&\"' é 世" in message


def test_hostile_and_missing_times_do_not_break_the_sums(folder: Any, a_record: Any, tmp_path: Path) -> None:
    for place, volatile in enumerate([{}, {"seconds": None}, {"seconds": -5.0}, {"seconds": 1234.5678}, None]):
        folder.add_line(a_record("erasure", f"case {place}", "PASS").to_json() | {"volatile": volatile})
    run = read_run(folder.close())
    assert run.unreadable == (5,)
    suite = written(run, tmp_path)[0]
    assert (suite.get("time"), suite.get("tests")) == ("1234.568", "4")


def test_a_failure_that_no_case_tells_gets_a_suite_of_its_own(folder: Any, a_record: Any, tmp_path: Path) -> None:
    folder.add(a_record("erasure", "fine", "PASS"))
    folder.manifest |= {"verdict": "FAIL", "exit_code": 1, "reasons": ["Your test failed: audits/test_mine.py::test_it: no."]}
    write_junit(read_run(folder.close()), tmp_path / "junit.xml")
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert root.get("failures") == "1"
    assert "Your test failed" in (tmp_path / "junit.xml").read_text()
