"""Texts and numbers of reports, without characters that could deceive a reader."""

from __future__ import annotations

import math
import unicodedata
from typing import Any, TypeGuard

from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.verdict.scales import SCORES, Scale, scale_of
from dmun_audit.verdict.vocabulary import Burden, ClaimKind, Verdict

VERDICTS = ("FAIL", "INCONCLUSIVE", "NO HARM PROVEN", "VACUOUS", "NOT APPLICABLE", "REPORTED", "PASS")
"""The verdicts of cases in reports, the worst first. REPORTED is a PASS that decides nothing."""

# Marks that change the writing direction can disguise a text.
_DIRECTION_MARKS = frozenset(map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)))


def printable(text: object) -> str:
    """`text` without control characters, lone surrogates, non-characters and marks that change the writing direction.

    Newlines stay, tabs become spaces. The result is legal in XML 1.0, HTML and UTF-8, and harmless in a terminal.
    """
    string = str(text)
    return string if string.isprintable() else "".join(map(_cleaned, string))


def _cleaned(character: str) -> str:
    if character in "\n\t":
        return "\n" if character == "\n" else " "
    refused = character in _DIRECTION_MARKS or unicodedata.category(character) in {"Cc", "Cs"}
    return "" if refused or ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF else character


def one_line(text: object) -> str:
    """`text` made printable, with each run of white space replaced by one space."""
    return " ".join(printable(text).split())


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number. A truth value is not."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number too large for a float, from a file that somebody edited
        return False


def number(value: Any, digits: int = 3) -> str:
    """`value` to `digits` significant digits; a dash if it is no number."""
    if not is_number(value):
        return "–"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def hundredths(value: Any) -> str:
    """`value` to two decimals with a typographic minus sign, for correlations; a dash if it is no number."""
    return _fixed(value, 2)


def thousandths(value: Any) -> str:
    """`value` to three decimals in the same form, for CLIP scores: they differ by little."""
    return _fixed(value, 3)


def _fixed(value: Any, places: int) -> str:
    return f"{value:z.{places}f}".replace("-", "−") if is_number(value) else "–"


def percent(value: Any) -> str:
    """A rate in [−1, 1] as a percentage with three significant digits; a dash if it is no number."""
    return f"{number(100.0 * value)}%" if is_number(value) else "–"


def count(amount: int, noun: str, plural: str = "") -> str:
    """`amount` with its noun: "1 case", "3 cases"."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def is_rate(claim: ClaimRecord) -> bool:
    """Whether a claim's numbers are shares, or differences of shares."""
    return scale_of(claim.kind) is not SCORES


def on_scale(claim: ClaimRecord, value: Any) -> str:
    """A value of a claim with three significant digits: rates in percent, differences of rates in points, else a number."""
    if not is_number(value):
        return "–"
    return _scale(claim, value).rounded(value)


def limit_on_scale(claim: ClaimRecord) -> str:
    """The threshold of a claim with all its digits."""
    return "–" if claim.threshold is None else _scale(claim, claim.threshold).as_given(claim.threshold)


def bound_on_scale(claim: ClaimRecord, bound: float, side: str) -> str:
    """A bound of a claim: an upper one rounded up, a lower one down, with digits enough to tell it from the threshold."""
    return _scale(claim, bound).rounded(bound, math.ceil if side == "upper" else math.floor, claim.threshold)


def _scale(claim: ClaimRecord, value: float) -> Scale:
    """How a value is written. What is no share, in a file that somebody edited, is written as it is."""
    return scale_of(claim.kind) if abs(value) <= 1 else SCORES


def deciding_bound(claim: ClaimRecord) -> tuple[str, str, str]:
    """The bound that proves a claim, its words, and the name of the threshold, such as ("upper", "at most", "ceiling")."""
    if claim.kind in {"rate_at_least", "validity", "weakened"}:
        return "lower", "at least", "floor"
    return "upper", "at most", "margin" if claim.kind.startswith(("paired", "probe", "baseline")) else "ceiling"


def _refuted(claim: ClaimRecord) -> bool:
    if claim.lower is None or claim.upper is None or claim.threshold is None:
        return False
    return claim.lower > claim.threshold if deciding_bound(claim)[0] == "upper" else claim.upper < claim.threshold


def report_verdict(record: CaseRecord) -> str:
    """The verdict for reports. A PASS of a case that does not gate is REPORTED."""
    return "REPORTED" if record.verdict == Verdict.PASS and not record.gating else str(record.verdict)


_UNITS = {
    "paired_accuracy": " pairs lost",
    "probe": " units shown by the candidate alone",
    "baseline": " pairs wrong on this candidate alone",
}


def claim_text(claim: ClaimRecord | None) -> str:
    """A claim's numbers in one line: hits of trials, estimate, the bound that decides, and the threshold."""
    if claim is None:
        return ""
    parts = []
    if claim.hits is not None and claim.trials is not None:
        parts.append(f"{number(claim.hits)} of {number(claim.trials)}{_UNITS.get(claim.kind, '')}")
    elif claim.trials is not None:
        parts.append(f"{number(claim.trials)} pairs" if claim.kind == ClaimKind.PAIRED_SCORE else f"n = {number(claim.trials)}")
    if claim.estimate is not None:
        what = "mean loss of CLIP score" if claim.kind == ClaimKind.PAIRED_SCORE else "estimate"
        parts.append(f"{what} {on_scale(claim, claim.estimate)}")
    side, words, limit = deciding_bound(claim)
    if _refuted(claim):
        side, words = ("lower", "at least") if side == "upper" else ("upper", "at most")
    bound = claim.lower if side == "lower" else claim.upper
    if bound is not None:
        parts.append(f"{words} {bound_on_scale(claim, bound, side)}")
    if claim.threshold is not None:
        parts.append(f"{limit} {limit_on_scale(claim)}")
    return ", ".join(parts)


def burden_text(claim: ClaimRecord) -> str:
    """The burden of proof of a claim; empty for a record without a claim."""
    if claim.threshold is None or claim.kind in {"validity", "weakened", "observation"}:
        return ""
    texts = {
        Burden.PROVE_SAFE: "prove safe: passes only if the limit is proven",
        Burden.PROVE_HARM: "prove harm: passes unless harm is proven",
    }
    return texts.get(claim.burden, "") if claim.burden else ""


def group_title(group: str) -> str:
    """A group's name as a heading."""
    words = one_line(group).replace("_", " ")
    return words[:1].upper() + words[1:]


def attack_title(record: CaseRecord) -> str:
    """What the attack of a probe's case does, such as "Rounding the weights to fewer bits"."""
    return record.title.split(" does not bring ")[0]


def markdown(text: object) -> str:
    """A text in one line, without the characters that Markdown or HTML would obey."""
    cleaned = one_line(str(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_|[]#!" else letter for letter in cleaned)


def csv_cell(value: object) -> object:
    """A value for CSV: a text in one line, with a quote before what a spreadsheet would run as a formula; nothing for None."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = one_line(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
