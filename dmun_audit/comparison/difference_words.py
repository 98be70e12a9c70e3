"""The paired differences of a table of methods in words and cells, for every form of the table."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.comparison.methods import MethodTable
from dmun_audit.comparison.paired_tests import Difference
from dmun_audit.report.formatting import in_words, one_line

_MINUS = "−"
_SMALLEST_P = 0.0001  # that is told by its digits
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
        f"alone, then {adjusted}."
    )


def points(share: float | None, digits: int = 1) -> str:
    """A share in percentage points with its sign, such as "−21.9"."""
    if share is None:
        return "–"
    rounded = round(100 * share, digits)
    return f"{_MINUS if rounded < 0 else '+' if rounded > 0 else ''}{abs(rounded):.{digits}f}"


def bounds_text(each: Difference, digits: int = 1) -> str:
    """The interval, such as "[−33.4, −13.5]"; empty if there is none."""
    return "" if each.lower is None or each.upper is None else f"[{points(each.lower, digits)}, {points(each.upper, digits)}]"


def p_text(each: Difference) -> str:
    """The adjusted p-value, such as "p 0.0031"."""
    return f"p {each.p_holm:.2g}" if each.p_holm >= _SMALLEST_P else f"p < {_SMALLEST_P}"


def cell_text(each: Difference | None, digits: int = 1) -> str:
    """A difference with its interval and p-value in one line; a dash if there is none."""
    return " ".join(filter(None, (points(each.difference, digits), bounds_text(each, digits), p_text(each)))) if each else "–"


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
            found.append(f"{group}: {in_words(names)} {words} {one_line(table.reference)}, beyond chance.")
    return found


def _names(real: Sequence[Difference], *, worse: bool) -> list[str]:
    return [one_line(each.name) for each in real if (each.difference > 0) is worse]
