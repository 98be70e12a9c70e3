"""What the terminal shows: a few lines on the whole audit, and the text of a case that failed."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dmun_audit.report.formatting import FAILING, VERDICTS, claim_words, count, number, one_line, shown_verdict
from dmun_audit.report.pairs import pairs_of
from dmun_audit.report.run import Run
from dmun_audit.report.spot_check import terminal_lines
from dmun_audit.report.waivers import (
    expired_waivers,
    expiring_waivers,
    headline,
    idle_waivers,
    is_waived,
    waiver_lines,
    waiver_words,
)

COLUMNS = 100
_IMAGES_NAMED = 3
_REASONS = 4


def summary_lines(run: Run) -> list[str]:
    """The audit in lines of 100 columns: one a group, a sentence a failing case, the verdict, the report's path.

    The last line holds the path alone, unbroken however long it is, so that it can be clicked or copied.
    """
    lines = []
    for group in run.groups:
        lines += _group_lines(group, run.of_group(group))
    failing = [case for group in run.groups for case in run.of_group(group) if case.get("verdict") in FAILING]
    if failing:
        lines.append("")
    for case in sorted(failing, key=lambda case: (is_waived(case), VERDICTS.index(case["verdict"]))):
        said = f"{case['verdict']}{' (waived)' if is_waived(case) else ''} {one_line(case.get('title', case['case_id']))}: {one_line(case.get('seen', ''))}"
        lines += wrapped(said, "    ")
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


def failure_text(record: Mapping[str, Any]) -> str:
    """The text of a case: what was asked, what was seen, what to do, where its images are (paths in the run folder)."""
    lines = wrapped(f"{one_line(record.get('verdict', ''))}: {one_line(record.get('title', ''))}", "  ")
    prompt = record.get("prompt") or {}
    if prompt.get("text"):
        kind = ", ".join(one_line(prompt[part]) for part in ("strategy", "language") if prompt.get(part))
        lines += _labelled("prompt:", f'"{one_line(prompt["text"])}"' + (f" ({kind})" if kind else ""))
    lines += _labelled("asked:", record.get("asked"))
    lines += _labelled("seen:", record.get("seen"))
    lines += _labelled("numbers:", claim_words(record.get("claim")))
    lines += _labelled("waived:", waiver_words(record))
    lines += _labelled("do:", record.get("remedy"))
    return "\n".join([*lines, *_image_lines(record)])


def verdict_counts(cases: Iterable[Mapping[str, Any]]) -> str:
    """How many cases have which verdict, the worst first: "1 FAIL, 3 PASS"; how many of them are waived stands behind."""
    listed = list(cases)
    counts = Counter(map(shown_verdict, listed))
    waived = Counter(shown_verdict(case) for case in listed if is_waived(case))
    return ", ".join(
        f"{counts[verdict]} {verdict}" + (f" ({waived[verdict]} waived)" if waived[verdict] else "")
        for verdict in VERDICTS
        if counts[verdict]
    )


def wrapped(text: str, indent: str, first: str = "") -> list[str]:
    """`text` broken into lines of at most 100 columns; a wide character takes two, a word without end is cut."""
    lines, line = [], first
    empty = True
    for word in text.split():
        rest = word
        while rest:
            joint = "" if empty else " "
            if _width(line + joint + rest) <= COLUMNS:
                line, rest, empty = line + joint + rest, "", False
            elif not empty:
                lines.append(line)
                line, empty = indent, True
            else:
                head = _head(rest, COLUMNS - _width(line))
                lines.append(line + head)
                line, rest = indent, rest[len(head) :]
    return lines if empty and lines else [*lines, line]


def _group_lines(group: str, cases: tuple[Mapping[str, Any], ...]) -> list[str]:
    said = f"{verdict_counts(cases)}"
    claims = [case.get("claim") or {} for case in cases if case.get("pooled")]
    told = [(claim_words(claim), ", only harm to be proven" if claim.get("burden") == "prove harm" else "") for claim in claims]
    tail = "; ".join(words + burden for words, burden in told if words)
    size = count(len(cases), "case")
    return wrapped(said + (f" | together: {tail}" if tail else ""), " " * 24, f"{one_line(group):<13}{size:<11}")


def _labelled(label: str, text: object) -> list[str]:
    words = one_line(text) if text else ""
    return wrapped(words, " " * 11, f"  {label:<9}") if words else []


def _image_lines(record: Mapping[str, Any]) -> list[str]:
    pairs = pairs_of(record)
    telling = [pair for pair in pairs if pair.telling]
    lines: list[str] = []
    for pair in (telling or pairs)[:_IMAGES_NAMED]:
        for image in (pair.base, pair.candidate):
            if not image:
                continue
            detected = image.get("detected")
            said = [f"{one_line(image.get('model'))}, index {number(image.get('index'))}, seed {image.get('seed')}"]
            if image.get("target_score") is not None:
                said.append(f"target score {number(image['target_score'])}")
            if detected is not None:
                said.append("target detected" if detected else "target not detected")
            lines += wrapped(", ".join(map(one_line, said)), " " * 11, "  image:   ")
            lines.append(" " * 11 + str(Path("images", f"{one_line(image.get('key'))}.png").as_posix()))
    more = len(telling or pairs) - _IMAGES_NAMED
    noun = "more pair" if any(pair.base and pair.candidate for pair in pairs) else "more image"
    if more > 0:
        lines += _labelled("", f"and {count(more, noun)} like these: see report.html")
    return lines


def _width(text: str) -> int:
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _head(word: str, columns: int) -> str:
    taken = 0
    for place, character in enumerate(word):
        taken += _columns(character)
        if taken > columns:
            return word[: max(1, place)]
    return word
