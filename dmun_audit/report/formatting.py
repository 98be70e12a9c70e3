"""How reports put texts and numbers into words, cleaned of what could deceive a reader."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

GROUPS = ("controls", "erasure", "adversarial", "retention", "ordering")
VERDICTS = ("FAIL", "INCONCLUSIVE", "VACUOUS", "REPORTED", "PASS")  # the worst first
FAILING = frozenset({"FAIL", "INCONCLUSIVE"})

# Marks that turn the direction of writing: they can make a text read as another one than it is.
_TURNING = frozenset(map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)))
_ON_RATES = frozenset({"rate_at_most", "rate_at_least", "validity", "paired_accuracy", "observation"})


def printable(text: object) -> str:
    """`text` without control characters, lone surrogates, non-characters and marks that turn the writing direction.

    Newlines stay, tabs become spaces. What is left is legal in XML 1.0, HTML and UTF-8, and harmless in a terminal.
    """
    return "".join(map(_kept, str(text)))


def _kept(character: str) -> str:
    if character in "\n\t":
        return "\n" if character == "\n" else " "
    refused = character in _TURNING or unicodedata.category(character) in {"Cc", "Cs"}
    return "" if refused or ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF else character


def one_line(text: object) -> str:
    """`text` made printable, with every run of white space as one space."""
    return " ".join(printable(text).split())


def is_number(value: object) -> bool:
    """Whether `value` is a finite number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 3) -> str:
    """`value` to `digits` significant digits, or a dash where there is none."""
    if not is_number(value):
        return "–"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def hundredths(value: Any) -> str:
    """`value` to two decimals with a proper minus sign, as correlations are given; a dash where there is none."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−") if is_number(value) else "–"


def percent(value: Any) -> str:
    """A rate in [−1, 1] as a percentage with three significant digits, or a dash where there is none."""
    return f"{number(100.0 * value)}%" if is_number(value) else "–"


def count(amount: int, noun: str, plural: str = "") -> str:
    """`amount` with its noun: "1 case", "3 cases"."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def is_rate(claim: Mapping[str, Any]) -> bool:
    """Whether a claim's numbers are shares, or differences of shares."""
    return claim.get("kind") in _ON_RATES


def on_scale(claim: Mapping[str, Any], value: Any) -> str:
    """A value of a claim on the scale of its kind: a percentage for rates and their differences, else a number."""
    if is_rate(claim) and is_number(value) and abs(value) <= 1:
        return percent(value)
    return number(value)


def deciding_bound(claim: Mapping[str, Any]) -> tuple[str, str, str]:
    """Which bound proves a claim, and what the threshold is called: ("upper", "at most", "ceiling"), for instance."""
    if claim.get("kind") in {"rate_at_least", "validity"}:
        return "lower", "at least", "floor"
    return "upper", "at most", "margin" if str(claim.get("kind", "")).startswith("paired") else "ceiling"


def _refuted(claim: Mapping[str, Any]) -> bool:
    lower, upper, threshold = (claim.get(part) for part in ("lower", "upper", "threshold"))
    if not (is_number(lower) and is_number(upper) and is_number(threshold)):
        return False
    return bool(lower > threshold if deciding_bound(claim)[0] == "upper" else upper < threshold)  # type: ignore[operator]


def shown_verdict(record: Mapping[str, Any]) -> str:
    """The verdict as reports show it: a case that can only come out well is REPORTED, and is no PASS to count on."""
    verdict = str(record.get("verdict"))
    return "REPORTED" if verdict == "PASS" and record.get("gating") is False else verdict


def claim_words(claim: Mapping[str, Any] | None) -> str:
    """A claim's numbers in one line: hits of trials, estimate, the bound that decides, and the threshold."""
    if not claim:
        return ""
    parts = []
    if is_number(claim.get("hits")) and is_number(claim.get("trials")):
        what = " pairs lost" if claim.get("kind") == "paired_accuracy" else ""
        parts.append(f"{number(claim['hits'])} of {number(claim['trials'])}{what}")
    elif is_number(claim.get("trials")):
        parts.append(f"n = {number(claim['trials'])}")
    if is_number(claim.get("estimate")):
        parts.append(f"estimate {on_scale(claim, claim['estimate'])}")
    side, wording, limit = deciding_bound(claim)
    if _refuted(claim):
        side, wording = ("lower", "at least") if side == "upper" else ("upper", "at most")
    if is_number(claim.get(side)):
        parts.append(f"{wording} {on_scale(claim, claim[side])}")
    if is_number(claim.get("threshold")):
        parts.append(f"{limit} {on_scale(claim, claim['threshold'])}")
    return ", ".join(parts)


def burden_words(claim: Mapping[str, Any]) -> str:
    """What a claim has to show; empty where it claims nothing."""
    if not is_number(claim.get("threshold")) or claim.get("kind") in {"validity", "observation"}:
        return ""
    words = {
        "prove safe": "to be proven: undecided is no pass",
        "prove harm": "only harm is to be proven: not refuted is a pass",
    }
    return words.get(str(claim.get("burden")), "")


def group_title(group: str) -> str:
    """A group's name as a heading."""
    return one_line(group)[:1].upper() + one_line(group)[1:]
