"""JUnit XML of an audit, valid against the schema of the Jenkins xUnit plugin (junit-10.xsd)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from dmun_audit.report.formatting import FAILING, is_number, one_line
from dmun_audit.report.run import Record, Run
from dmun_audit.report.text import failure_text
from dmun_audit.report.waivers import headline, is_waived, waiver_words, waivers_of

_TOLD_BY_NO_CASE = frozenset({"INCOMPLETE", "PARTIAL"})


def write_junit(run: Run, path: Path) -> None:
    """Write the run as JUnit XML: a testsuite per group, a testcase per case, the pooled ones included.

    FAIL and INCONCLUSIVE are failures, VACUOUS is skipped. So is a case whose FAIL or INCONCLUSIVE is waived, with the
    waiver's words: as a failure it would turn a CI red that reads this file, as a passed test it would count as
    evidence and nobody would read on. All waivers of the policy stand as properties of the first testsuite. An audit that did not pass although no case of it says so
    (one is missing, or a test of the user's own failed) gets one more testsuite, `audit`, with one failure: a CI that
    reads only this file must not be told that all is well.
    """
    suites = [_suite(group, run.of_group(group)) for group in run.groups]
    told = run.verdict not in _TOLD_BY_NO_CASE and any(map(_is_failure, run.cases))
    if run.verdict != "PASS" and not told:
        suites.append(_verdict_suite(run))
    if suites and waivers_of(run.manifest):
        suites[0].insert(0, _properties(run))
    root = ET.Element("testsuites", name="dmun_audit")
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    root.extend(suites)
    ET.indent(root)
    path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _suite(group: str, cases: Sequence[Record]) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=one_line(group),
        tests=str(len(cases)),
        failures=str(sum(map(_is_failure, cases))),
        errors="0",
        skipped=str(sum(case.get("verdict") == "VACUOUS" or is_waived(case) for case in cases)),
        time=f"{sum(_seconds(case) for case in cases):.3f}",
    )
    suite.extend(_testcase(group, case) for case in cases)
    return suite


def _testcase(group: str, case: Record) -> ET.Element:
    element = ET.Element(
        "testcase",
        classname=f"dmun_audit.{one_line(group)}",
        name=one_line(case["case_id"]),
        time=f"{_seconds(case):.3f}",
    )
    verdict = case.get("verdict")
    message = f"{one_line(case.get('title', ''))}: {one_line(case.get('seen', ''))}"
    if is_waived(case):
        ET.SubElement(element, "skipped", type="WAIVED", message=f"{waiver_words(case)} — {message}")
        ET.SubElement(element, "system-out").text = failure_text(case)
    elif verdict in FAILING:
        failure = ET.SubElement(element, "failure", type=str(verdict), message=f"{verdict}: {message}")
        failure.text = failure_text(case)
    elif verdict == "VACUOUS":
        ET.SubElement(element, "skipped", type="VACUOUS", message=message)
    else:
        ET.SubElement(element, "system-out").text = failure_text(case)
    return element


def _properties(run: Run) -> ET.Element:
    found = ET.Element("properties")
    ET.SubElement(found, "property", name="verdict", value=headline(run))
    for waiver in waivers_of(run.manifest):
        status, owner, day, reason = (one_line(waiver.get(part) or "–") for part in ("status", "owner", "expires", "reason"))
        said = f"{status}: waived by {owner} until {day}: {reason}"
        ET.SubElement(found, "property", name=f"waiver of {one_line(waiver.get('case'))}", value=said)
    return found


def _is_failure(case: Mapping[str, Any]) -> bool:
    return case.get("verdict") in FAILING and not is_waived(case)


def _verdict_suite(run: Run) -> ET.Element:
    suite = ET.Element("testsuite", name="audit", tests="1", failures="1", errors="0", skipped="0", time="0.000")
    element = ET.SubElement(suite, "testcase", classname="dmun_audit.audit", name="verdict", time="0.000")
    reasons = " ".join(map(one_line, run.reasons))
    failure = ET.SubElement(element, "failure", type=run.verdict, message=f"{run.verdict}: {reasons}")
    failure.text = "\n".join(map(one_line, run.reasons))
    return suite


def _seconds(case: Mapping[str, Any]) -> float:
    seconds: Any = (case.get("volatile") or {}).get("seconds")
    return max(0.0, float(seconds)) if is_number(seconds) else 0.0
