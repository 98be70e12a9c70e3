"""Texts for the terminal: a summary of the audit, and the text of one case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from dmun_audit._util import terminal
from dmun_audit.claim_groups.registry import group_rank
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.report.baseline import baseline_lines
from dmun_audit.report.formatting import VERDICTS, claim_text, count, number, one_line, report_verdict
from dmun_audit.report.orderings import correlations_of, ordering_sentences
from dmun_audit.report.pairs import pairs_of
from dmun_audit.report.scope import alerts, scope_lines, thin_lines
from dmun_audit.report.spot_check import terminal_lines
from dmun_audit.report.standing import attempt_lines, attempt_sentence, release_lines
from dmun_audit.report.waivers import (
    expired_waivers,
    expiring_waivers,
    headline,
    idle_waivers,
    waiver_lines,
    waiver_text,
)
from dmun_audit.verdict.vocabulary import Verdict

COLUMNS = 100
MOST_IN_FULL = 2_000
"""Cases that a report shows with their pictures and sentences. The plan of a release has about 600."""
_IMAGES_NAMED = 3
_REASONS = 4
_CASES = 10


def summary_lines(run: Run) -> list[str]:
    """The audit in lines of 100 columns: groups, failing cases, warnings, the verdict, the path of the report.

    The last line holds the path and is never broken, so that users can click or copy it.
    """
    lines = []
    for group in groups_of(run):
        lines += _group_lines(group, run.of_group(group))
    if any(row.model for row in correlations_of(run)):  # somebody let a model order the concepts
        for sentence in ordering_sentences(run):
            lines += wrapped(one_line(sentence), "    ", "  ")
    shown, said = cases_in_full(run), " ".join(run.reasons[:_REASONS])
    failing = [
        case
        for group in groups_of(run)
        for case in run.of_group(group)
        if case.verdict.is_failure and case.case_id in shown and not (case.seen and case.seen in said)
    ]
    if failing:
        lines.append("")
    failing.sort(key=lambda case: (case.is_waived, VERDICTS.index(case.verdict)))
    for case in failing[:_CASES]:
        waived = " (waived)" if case.is_waived else ""
        lines += wrapped(f"{case.verdict}{waived} {one_line(case.title or case.case_id)}: {one_line(case.seen)}", "    ")
    if len(failing) > _CASES:
        lines.append(f"and {count(len(failing) - _CASES, 'more failed or undecided case')}: see the report")
    lines.append("")
    for warning in (*run.warnings, *expiring_waivers(run.manifest)):
        lines += wrapped(f"warning: {one_line(warning)}", "    ")
    for warning in expired_waivers(run.manifest):
        lines += wrapped(f"WARNING: {one_line(warning)}", "    ")
    for line in (*waiver_lines(run), *idle_waivers(run.manifest)):
        lines += wrapped(f"waiver: {line}", "    ")
    for line in terminal_lines(run):
        lines += wrapped(line, "    ")
    lines += _verdict_lines(run)
    for sentence in baseline_lines(run):
        lines += wrapped(sentence, "    ", "  ")
    for case in run.cases:
        if case.verdict == Verdict.NOT_APPLICABLE:
            lines += wrapped(f"not tried: {one_line(case.title)}. {one_line(case.seen)}", "    ", "  ")
    for sentence in alerts(run):
        lines += wrapped(f"WARNING: {sentence}", "    ", "  ")
    for sentence in thin_lines(run):
        lines += wrapped(f"caution: {sentence}", "    ", "  ")
    for sentence in (*scope_lines(run), *release_lines(run)):
        lines += wrapped(sentence, "    ", "  ")
    if sentence := attempt_sentence(run.manifest):
        lines += wrapped(f"{sentence} Other audits of them:", "    ", "  ")
    for line in attempt_lines(run.manifest):
        lines += wrapped(line, "      ", "    - ")
    lines.append(f"report: {run.path / 'report.html'}")
    return lines


def _verdict_lines(run: Run) -> list[str]:
    verdict, reasons = f"VERDICT {one_line(headline(run))}", [one_line(reason) for reason in run.reasons]
    if len(reasons) < 2:
        return wrapped(": ".join([verdict, *reasons]), "    ")
    lines = [verdict]
    for reason in reasons[:_REASONS]:
        lines += wrapped(reason, "    ", "  - ")
    more = len(reasons) - _REASONS
    return lines + ([f"  - and {count(more, 'more reason')}: see the report"] if more > 0 else [])


def failure_text(record: CaseRecord) -> str:
    """The text of a case: its claim, the result, what to do, and its images as paths in the run folder."""
    lines = wrapped(f"{record.verdict}: {one_line(record.title)}", "  ")
    prompt = record.prompt
    if prompt and prompt.text:
        kind = ", ".join(one_line(part) for part in (prompt.strategy, prompt.language) if part)
        lines += _labelled("prompt:", f'"{one_line(prompt.text)}"' + (f" ({kind})" if kind else ""))
    lines += _labelled("claim:", record.asked)
    lines += _labelled("result:", record.seen)
    lines += _labelled("numbers:", claim_text(record.claim))
    lines += _labelled("waived:", waiver_text(record))
    lines += _labelled("do:", record.remedy)
    return "\n".join([*lines, *_image_lines(record)])


def claim_line(record: CaseRecord) -> str:
    """A pooled claim in a line: "erasure: PASS · 0 of 64, estimate 0%, at most 4.96%, ceiling 5%"."""
    figures = claim_text(record.claim) if record.claim else ""
    return " · ".join(filter(None, [f"{one_line(record.group)}: {record.verdict}", figures]))


def cases_in_full(run: Run) -> frozenset[str]:
    """The ids of the cases that reports show in full: all of them, or the first `MOST_IN_FULL`, the most important ones first."""
    ranked = sorted(run.cases, key=lambda case: (not case.pooled, case.group != "controls", not case.verdict.is_failure))
    return frozenset(case.case_id for case in ranked[:MOST_IN_FULL])


def groups_of(run: Run) -> list[str]:
    """The groups that have cases, in the order of an audit."""
    return sorted(dict.fromkeys(case.group for case in run.cases), key=group_rank)


def verdict_counts(cases: Iterable[CaseRecord]) -> str:
    """The number of cases for each verdict, the worst first, and of waived cases among them: "1 FAIL, 3 PASS"."""
    cases = list(cases)
    counts = Counter(map(report_verdict, cases))
    waived = Counter(report_verdict(case) for case in cases if case.is_waived)
    return ", ".join(
        f"{counts[verdict]} {verdict}" + (f" ({waived[verdict]} waived)" if waived[verdict] else "")
        for verdict in VERDICTS
        if counts[verdict]
    )


def wrapped(text: str, indent: str, first: str = "") -> list[str]:
    """`text` broken into lines of at most 100 columns; the first starts with `first`, the others with `indent`."""
    return terminal.wrapped(text, COLUMNS, first, indent)


def _group_lines(group: str, cases: Sequence[CaseRecord]) -> list[str]:
    claims = [case.claim for case in cases if case.pooled and case.claim]
    pooled = [claim_text(claim) + (", passes unless harm is proven" if claim.harm_only else "") for claim in claims]
    tail = "; ".join(words for words in pooled if words)
    size = count(len(cases), "case")
    text = verdict_counts(cases) + (f" | together: {tail}" if tail else "")
    return wrapped(text, " " * 24, f"{one_line(group):<12} {size:<10} ")


def _labelled(label: str, text: object) -> list[str]:
    words = one_line(text) if text else ""
    return wrapped(words, " " * 11, f"  {label:<9}") if words else []


def _image_lines(record: CaseRecord) -> list[str]:
    pairs = pairs_of(record)
    against_claim = [pair for pair in pairs if pair.against_claim]
    lines: list[str] = []
    for pair in (against_claim or pairs)[:_IMAGES_NAMED]:
        for image in (pair.base, pair.candidate):
            if image is None:
                continue
            facts = [f"{image.model}, index {number(image.index)}, seed {image.seed}"]
            if image.target_score is not None:
                facts.append(f"target score {number(image.target_score)}")
            if image.detected is not None:
                facts.append("target detected" if image.detected else "target not detected")
            lines += wrapped(", ".join(facts), " " * 11, "  image:   ")
            lines.append(" " * 11 + f"images/{one_line(image.key)}.png")
    more = len(against_claim or pairs) - _IMAGES_NAMED
    noun = "more pair" if any(pair.base and pair.candidate for pair in pairs) else "more image"
    if more > 0:
        lines += _labelled("", f"and {count(more, noun)} like these: see report.html")
    return lines
