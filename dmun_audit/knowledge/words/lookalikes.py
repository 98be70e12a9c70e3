"""Letters that look like Latin ones: of other alphabets (Unicode's confusables), small capitals, letters in boxes, digits."""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from typing import Any

_DIGITS = dict(zip("0134578", "oieastb", strict=True))
_FURTHER = {
    "\u04cf": "l",
    "\u13be": "o",
    "\u13eb": "o",
    "\u13c1": "n",
    "\u13b6": "g",
    "\u13e9": "g",
    "\u13d9": "v",
    "\u13cc": "u",
    "\u13f4": "b",
}  # palochka, and Cherokee letters that the table lacks


@lru_cache(maxsize=16384)
def latin_of(letter: str) -> str:
    """The small Latin letter, or letters, that `letter` looks like; `letter` itself if it looks like none.

    `letter` is folded: without accents, case-folded. Both of its cases count: "к" looks like no small letter, but "К" like "K".
    """
    if letter.isascii():
        return _DIGITS.get(letter, letter)
    if unicodedata.name(letter, "").startswith("LATIN"):  # small capitals, "ø", "ɡ"
        return _romanised(letter) or letter
    return _FURTHER.get(letter) or _confusable(letter) or _confusable(letter.upper()) or letter


@lru_cache(maxsize=16384)
def letter_in_symbol(symbol: str) -> str:
    """The Latin letter in a symbol such as "🅰" or "🇻"; the symbol itself if it holds no single letter."""
    letter = _romanised(symbol)
    return letter if len(letter) == 1 else symbol


def _romanised(letter: str) -> str:
    from anyascii import anyascii

    latin = str(anyascii(letter)).lower()
    return latin if latin.isalpha() else ""


def _confusable(letter: str) -> str:
    """The ASCII letter that Unicode's table of confusables gives for `letter`, small; "" if it gives none."""
    for entry in _table().get(letter, ()):
        latin = entry["c"]
        if len(latin) == 1 and latin.isascii() and latin.isalpha():
            return str(latin.lower())
    return ""


@cache
def _table() -> dict[str, Any]:
    """The table; read in about .03 s when a letter of another script comes first."""
    from confusable_homoglyphs.confusables import confusables_data

    return dict(confusables_data)
