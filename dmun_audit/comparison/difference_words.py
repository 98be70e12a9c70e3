"""The paired differences of a table of methods in words and cells, for every form of the table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dmun_audit.comparison.methods import MethodTable
from dmun_audit.comparison.paired_tests import SIGNIFICANT, Difference
from dmun_audit.evidence.messages import enumerated
from dmun_audit.report.formatting import one_line
from dmun_audit.verdict.significant import MOST_DIGITS, Rounding

_MINUS = "−"
_SMALLEST_P = 0.0001  # that is told by its digits
_MOST_P_DIGITS = 17
_VERBS = {"retention": ("loses {} pairs than", "lose {} pairs than", ("more", "fewer"))}
_SHOWS = ("shows the target {} often than", "show the target {} often than", ("more", "less"))
"""Of one method and of several: what is worse or better than the reference, and the words for both."""


def heading(table: MethodTable) -> str:
    """The heading of the table of differences."""
    return f"Differences to {one_line(table.reference)}"


def groups_of(table: MethodTable) -> list[str]:
    """The quantities that the paired tests compare: a column each."""
    return list(dict.fromkeys(each.group for each in table.differences))


def compared_rows(table: MethodTable) -> list[tuple[str, list[Difference | None]]]:
    """For each row but the reference its name, and its difference in each quantity."""
    found = {(each.name, each.group): each for each in table.differences}
    groups = groups_of(table)
    return [(row.name, [found.get((row.name, group)) for group in groups]) for row in table.rows if row.name != table.reference]


def explanation(table: MethodTable) -> str:
    """What the cells of the table of differences hold."""
    tests = len(table.differences)
    adjusted = "p of McNemar's exact test" + (f", adjusted for {tests} tests (Holm)" if tests > 1 else "")
    return (
        "In percentage points, on equal prompts and seeds: how many more images show the target (erasure, adversarial), or how many more pairs "
        f"are lost (retention), than with {one_line(table.reference)}. Less than 0 is better. In brackets the 95% interval of this difference "
        f"alone, then {adjusted}. Where claims stop early, test and interval are approximate."
    )


def points(share: float | None) -> str:
    """A share in percentage points with its sign and one decimal, such as "−21.9"."""
    return "–" if share is None else _signed(round(100 * share, 1), 1)


def bounds_text(each: Difference) -> str:
    """The interval, rounded outward, such as "[−33.4, −13.5]"; empty if there is none."""
    if each.lower is None or each.upper is None:
        return ""
    return f"[{_outward(each.lower, math.floor)}, {_outward(each.upper, math.ceil)}]"


def _outward(bound: float, towards: Rounding) -> str:
    """A bound in points, rounded outward to one decimal. One that would read 0, and is not 0, has more decimals."""
    for decimals in range(1, MOST_DIGITS):
        shown = towards(round(100 * bound * 10**decimals, 6)) / 10**decimals
        if shown or not bound:
            return _signed(shown, decimals)
    return _signed(0.0, 1)


def _signed(number: float, decimals: int) -> str:
    return f"{_MINUS if number < 0 else '+' if number > 0 else ''}{abs(number):.{decimals}f}"


def p_text(each: Difference) -> str:
    """The adjusted p-value, such as "p 0.0031". One that is not 0.05, and would read so, has more digits."""
    p = each.p_holm
    if p < _SMALLEST_P:
        return f"p < {_SMALLEST_P}"
    shown = (f"{p:.{digits}g}" for digits in range(2, _MOST_P_DIGITS, 2))
    return f"p {next((text for text in shown if p == SIGNIFICANT or float(text) != SIGNIFICANT), repr(p))}"


def cell_text(each: Difference | None) -> str:
    """A difference with its interval and p-value in one line; a dash if there is none."""
    return " ".join(filter(None, (points(each.difference), bounds_text(each), p_text(each)))) if each else "–"


def difference_sentences(table: MethodTable) -> list[str]:
    """Which methods differ from the reference beyond chance, one sentence for each quantity and direction; and how many tests show nothing."""
    if not table.differences:
        return []
    told = [sentence for group in groups_of(table) for sentence in _of_group(table, group)]
    rest = sum(not each.beyond_chance for each in table.differences)
    reference = one_line(table.reference)
    if rest and not told:
        told.append(f"No difference to {reference} is beyond chance.")
    elif rest:
        told.append(f"{rest} of {len(table.differences)} differences to {reference} may be chance.")
    return told


def _of_group(table: MethodTable, group: str) -> list[str]:
    real = [each for each in table.differences if each.group == group and each.beyond_chance]
    one, several, amounts = _VERBS.get(group, _SHOWS)
    found = []
    for amount, names in zip(amounts, (_names(real, worse=True), _names(real, worse=False)), strict=True):
        if names:
            words = (one if len(names) == 1 else several).format(amount)
            found.append(f"{group}: {enumerated(names)} {words} {one_line(table.reference)}, beyond chance.")
    return found


def _names(real: Sequence[Difference], *, worse: bool) -> list[str]:
    return [one_line(each.name) for each in real if (each.difference > 0) is worse]
