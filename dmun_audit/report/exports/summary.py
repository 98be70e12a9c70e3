"""An audit as Markdown for a CI server's page, such as $GITHUB_STEP_SUMMARY, and as annotations of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmun_audit.evidence.run import Run
from dmun_audit.report.baseline import baseline_lines
from dmun_audit.report.formatting import claim_text, count, markdown, one_line, report_verdict
from dmun_audit.report.html.weakest import weakest
from dmun_audit.report.scope import alerts, scope_lines, thin_lines
from dmun_audit.report.standing import release_lines, unfinished_lines
from dmun_audit.report.text import groups_of, verdict_counts
from dmun_audit.report.waivers import headline
from dmun_audit.verdict.vocabulary import AuditVerdict

MOST_ANNOTATIONS = 10
"""GitHub shows no more of one kind for each step."""

UNFINISHED = "not finished"
"""What stands in place of a verdict."""

_SIGNS = {AuditVerdict.PASS: "✅", AuditVerdict.FAIL: "❌"}


def summary_markdown(run: Run) -> str:
    """Verdict, reasons, the claims of each group, what failed or came closest, and the scope."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: Run) -> Iterator[str]:
    if not run.altered and not run.concluded:
        yield from _unfinished(run)
        return
    target, candidate = run.manifest.target.name, run.manifest.reference("candidate")
    yield f"## {_SIGNS.get(run.verdict, '⚠️')} {markdown(headline(run))}: {markdown(target)} in {markdown(candidate)}"
    yield ""
    yield from (f"- {markdown(reason)}" for reason in run.reasons)
    yield from (f"- {markdown(sentence)}" for sentence in baseline_lines(run))
    yield from (f"- **Warning.** {markdown(alert)}" for alert in alerts(run))
    yield ""
    yield "| group | cases | claim over the whole group |"
    yield "| --- | --- | --- |"
    for group in groups_of(run):
        cases = run.of_group(group)
        claims = "; ".join(f"{report_verdict(case)}: {claim_text(case.claim)}" for case in cases if case.pooled and case.claim)
        yield f"| {markdown(group)} | {markdown(verdict_counts(cases))} | {markdown(claims)} |"
    listed = weakest(run.cases)
    if listed:
        yield ""
        yield "**What failed, and what came closest**"
        yield ""
        yield from (f"- {report_verdict(case)}: {markdown(case.title)} ({markdown(claim_text(case.claim))})" for case in listed)
    yield ""
    for sentence in (*scope_lines(run), *release_lines(run), *thin_lines(run)):
        yield f"{markdown(sentence)}  "


def _unfinished(run: Run) -> Iterator[str]:
    """The lines of a run without a verdict. Nothing in them reads as one."""
    candidate = run.manifest.reference("candidate") or f"a model that {run.path.name} does not name"
    yield f"## ⏳ {UNFINISHED}: {markdown(run.manifest.target.name)} in {markdown(candidate)}"
    yield ""
    yield from (f"- {markdown(sentence)}" for sentence in unfinished_lines(run))
    if not run.cases:
        return
    yield ""
    yield "| group | cases so far |"
    yield "| --- | --- |"
    yield from (f"| {markdown(group)} | {markdown(verdict_counts(run.of_group(group)))} |" for group in groups_of(run))


def github_annotations(run: Run) -> list[str]:
    """At most ten commands for GitHub's runner, one for each case that failed and one for the verdict. Their texts are escaped."""
    failed = [case for case in weakest(run.cases) if case.is_failure]
    if run.verdict == AuditVerdict.PASS:
        return []
    said = [(f"{run.verdict}: {run.manifest.target.name}", _in_one(run.reasons) or str(run.verdict))]
    if not run.altered and not run.concluded:
        said = [(f"{UNFINISHED}: {run.manifest.target.name}", " ".join(unfinished_lines(run)))]
    said += [(f"{case.verdict}: {case.title}", case.seen) for case in failed]
    if len(said) > MOST_ANNOTATIONS:
        rest = len(said) - MOST_ANNOTATIONS + 1
        said = [*said[: MOST_ANNOTATIONS - 1], (f"and {count(rest, 'more case')}", f"See {run.path / 'report.html'}.")]
    return [f"::error title={_property(title)}::{_data(text)}" for title, text in said]


def _in_one(reasons: Sequence[str]) -> str:
    """The first reason, and how many others there are."""
    more = f" And {count(len(reasons) - 1, 'more reason')}." if reasons[1:] else ""
    return f"{reasons[0]}{more}" if reasons else ""


def _data(text: str) -> str:
    return one_line(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
