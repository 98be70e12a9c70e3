"""JUnit XML of an audit, valid against the schema of the Jenkins xUnit plugin (junit-10.xsd)."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.formatting import one_line
from dmun_audit.report.text import cases_in_full, failure_text, groups_of
from dmun_audit.report.waivers import headline, waiver_text
from dmun_audit.store.files import write_atomically
from dmun_audit.verdict.vocabulary import AuditVerdict

_NOT_SHOWN_BY_CASES = frozenset({AuditVerdict.INCOMPLETE, AuditVerdict.PARTIAL})


def write_junit(run: Run, path: Path) -> None:
    """Write the run as JUnit XML: a testsuite for each group, a testcase for each case, pooled ones included.

    FAIL and INCONCLUSIVE are failures. VACUOUS and NOT APPLICABLE are skipped. A case whose FAIL or INCONCLUSIVE is waived is skipped too, with the
    waiver as its message: it must neither fail a CI that reads this file nor look like a passed test. All waivers of the policy
    are properties of the first testsuite.

    An audit may not pass although no case fails: a case is missing, or a test of the user failed. It then gets a further
    testsuite, `audit`, with one failure, so that a CI that reads only this file fails too.
    """
    shown = cases_in_full(run)
    suites = [_suite(group, run.of_group(group), shown) for group in groups_of(run)]
    shown_by_cases = run.verdict not in _NOT_SHOWN_BY_CASES and any(case.is_failure for case in run.cases)
    if run.verdict != AuditVerdict.PASS and not shown_by_cases:
        suites.append(_verdict_suite(run))
    if suites and run.manifest.waivers:
        suites[0].insert(0, _properties(run))
    root = ET.Element("testsuites", name="dmun_audit")
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    root.extend(suites)
    ET.indent(root)
    write_atomically(path, ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _suite(group: str, cases: Sequence[CaseRecord], shown: Container[str]) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=one_line(group),
        tests=str(len(cases)),
        failures=str(sum(case.is_failure for case in cases)),
        errors="0",
        skipped=str(sum(case.verdict.is_untested or case.is_waived for case in cases)),
        time=f"{sum(_seconds(case) for case in cases):.3f}",
    )
    suite.extend(_testcase(group, case, in_full=case.case_id in shown) for case in cases)
    return suite


def _testcase(group: str, case: CaseRecord, *, in_full: bool) -> ET.Element:
    """The element of one case; without `in_full`, without the text of a case that did not fail."""
    element = ET.Element(
        "testcase",
        classname=f"dmun_audit.{one_line(group)}",
        name=one_line(case.case_id),
        time=f"{_seconds(case):.3f}",
    )
    verdict = case.verdict
    message = f"{one_line(case.title)}: {one_line(case.seen)}"
    if case.is_waived:
        ET.SubElement(element, "skipped", type="WAIVED", message=f"{waiver_text(case)} — {message}")
        ET.SubElement(element, "system-out").text = failure_text(case)
    elif verdict.is_failure:
        failure = ET.SubElement(element, "failure", type=str(verdict), message=f"{verdict}: {message}")
        failure.text = failure_text(case) if in_full else message
    elif verdict.is_untested:
        ET.SubElement(element, "skipped", type=verdict.value, message=message)
    elif in_full:
        ET.SubElement(element, "system-out").text = failure_text(case)
    return element


def _properties(run: Run) -> ET.Element:
    properties = ET.Element("properties")
    ET.SubElement(properties, "property", name="verdict", value=headline(run))
    for waiver in run.manifest.waivers:
        parts = (waiver.status, waiver.owner, waiver.expires, waiver.reason)
        status, owner, day, reason = (one_line(part or "–") for part in parts)
        text = f"{status}: waived by {owner} until {day}: {reason}"
        ET.SubElement(properties, "property", name=f"waiver of {one_line(waiver.case)}", value=text)
    return properties


def _verdict_suite(run: Run) -> ET.Element:
    suite = ET.Element("testsuite", name="audit", tests="1", failures="1", errors="0", skipped="0", time="0.000")
    element = ET.SubElement(suite, "testcase", classname="dmun_audit.audit", name="verdict", time="0.000")
    reasons = " ".join(map(one_line, run.reasons))
    failure = ET.SubElement(element, "failure", type=run.verdict, message=f"{run.verdict}: {reasons}")
    failure.text = "\n".join(map(one_line, run.reasons))
    return suite


def _seconds(case: CaseRecord) -> float:
    return max(0.0, case.volatile.seconds or 0.0)
