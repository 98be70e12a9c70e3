"""Ratings on other scales than 0 to 100, brought to it where the scale is sure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

FEWEST_FOR_TEN = 8  # whole ratings up to 10, in one answer, that show a scale of 0 to 10
FEWEST_FRACTIONS = 3  # ratings with a fraction among them that show a scale of 0 to 10
_HIGH = 7  # a scale of 0 to 10 is used at least up to here
_DIFFERENT = 4  # different whole ratings on a scale of 0 to 10
_OF = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:/|out of|of|von|sur|de)\s*(\d+)", re.IGNORECASE)
_PER_CENT = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:%|per ?cent)", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")
_COMMENT = re.compile(r"\s*(?://|#|/\*).*", re.DOTALL)


def scale_of(values: Sequence[Any]) -> int:
    """The top of the scale of the ratings in one answer: 1, 10 or 100; 0 if it is not clear.

    It is 1 if none is above 1 and one has a fraction. It is 10 if none is above 10, one is above 1, and they are either at least
    three with a fraction among them, or at least eight whole ones, four of them different, the highest at least 7: the question
    asks for the whole scale up to 100, and some of the concepts are close. Ratings that name their scale ("4/10", "42%") do not
    count. One or two with a fraction, up to 10, are not clear. Otherwise it is 100.
    """
    numbers = [number for value in values if (number := _plain(value)) is not None]
    if not numbers or max(numbers) > 10 or min(numbers) < 0:
        return 100
    fractions = any(not number.is_integer() for number in numbers)
    if max(numbers) <= 1:
        return 1 if fractions else 100
    if fractions:
        return 10 if len(numbers) >= FEWEST_FRACTIONS else 0
    many = len(numbers) >= FEWEST_FOR_TEN and len(set(numbers)) >= _DIFFERENT
    return 10 if many and max(numbers) >= _HIGH else 100


def to_hundred(value: Any, scale: int) -> Any:
    """A rating on the scale of 0 to 100, a whole number; `value` itself if it is no rating, or not a clear one."""
    if isinstance(value, str):
        text = _COMMENT.sub("", value).strip()
        if found := _OF.fullmatch(text):
            part, whole = _float(found[1]), _float(found[2])
            return _rounded(100 * part / whole) if whole > 0 and part <= whole else value
        if found := _PER_CENT.fullmatch(text):
            return _rounded(_float(found[1])) if _float(found[1]) <= 100 else value
    number = _plain(value)
    if number is None or not 0 <= number <= scale:
        return value
    if scale == 100 and 0 < number < 1:
        return value  # 0.9 beside 85: of 1 or of 100?
    if scale == 100 and isinstance(value, int):
        return value
    return _rounded(number * 100 / scale)


def _rounded(number: float) -> int:
    return math.floor(number + 0.5)


def _plain(value: Any) -> float | None:
    """The number that `value` states without its scale."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) <= 1e6 else None
    if isinstance(value, str):
        text = _COMMENT.sub("", value).strip()
        return _float(text) if len(text) < 20 and _NUMBER.fullmatch(text) else None
    return None


def _float(text: str) -> float:
    return float(text.replace(",", "."))
