"""Texts of untrusted origin: cleaned of what is not read, folded for comparison, taken apart into words."""

from __future__ import annotations

import re
import unicodedata

_UNREAD = frozenset("\u00ad\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")
_ALIKE = str.maketrans("аеорсухіјѕԁһӏкмтвнгɡαβεικνορτυχøłıđ0134578", "aeopcyxijsdhlkmtbhrgabeiknoptuxolidoieastb")
_WORDS = re.compile(r"[^\W_]+")


def _unread(letter: str) -> bool:
    """Whether a letter steers a terminal or the direction of text, or is not seen at all. Joiners stay: some scripts need them."""
    return (unicodedata.category(letter) in {"Cc", "Cs"} and letter not in "\n\t") or letter in _UNREAD


def without_unread(text: str) -> str:
    """`text` without what steers a terminal, turns the direction of text or takes no room."""
    return "".join(letter for letter in text if not _unread(letter))


def fold(text: str) -> str:
    """`text` for comparison: compatibility-normalised, without accents, case-folded, white space collapsed."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(plain.casefold().split())


def skeleton(text: str) -> list[str]:
    """The words of `text` as a hasty reader sees them: folded, look-alike letters and digits made Latin."""
    return [seen for _, seen in words_of(text)]


def words_of(text: str) -> list[tuple[str, str]]:
    """The words of `text`, each as it is written (folded) and as a hasty reader sees it.

    A word is made Latin only if nothing of another script is left over in it.
    """
    folded = "".join(letter for letter in fold(text) if unicodedata.category(letter) not in {"Cf", "Mn", "Mc"})
    found = []
    for word in _WORDS.findall(folded):
        latin = word.translate(_ALIKE)
        found.append((word, latin if latin.isascii() and not word.isdigit() else word))
    return found
