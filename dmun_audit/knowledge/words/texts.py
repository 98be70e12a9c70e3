"""Texts of untrusted origin: cleaned of hidden characters, folded for comparison, split into words."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from dmun_audit.knowledge.words.lookalikes import latin_of, letter_in_symbol

_HIDDEN = frozenset("\u00ad\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters without a shape
_WORDS = re.compile(r"[^\W_]+")


def _is_hidden(character: str) -> bool:
    """Whether a character controls a terminal or the direction of text, or is invisible. Joiners stay: some scripts need them."""
    return (unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t") or character in _HIDDEN


def without_hidden_characters(text: str) -> str:
    """`text` without characters that control a terminal, change the direction of text or are invisible."""
    return "".join(character for character in text if not _is_hidden(character))


def fold(text: str) -> str:
    """`text` for comparison: compatibility-normalised, without accents, case-folded, white space collapsed."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return " ".join(plain.casefold().split())


def skeleton(text: str) -> list[str]:
    """The words of `text`, folded, with Latin letters for look-alike letters and digits."""
    return [latin for _, latin in words_of(text)]


def words_of(text: str) -> list[tuple[str, str]]:
    """The words of `text`, each folded, and the same word with Latin letters for look-alikes.

    A word that would keep a letter of another script stays as it is.
    """
    return list(_words_of(text))


@lru_cache(maxsize=8192)
def _words_of(text: str) -> tuple[tuple[str, str], ...]:
    words = []
    for word in _WORDS.findall("".join(map(_visible, fold(text)))):
        latin = word if word.isascii() and word.isalpha() else "".join(map(latin_of, word))
        words.append((word, latin if latin.isascii() and not word.isdigit() else word))
    return tuple(words)


def _visible(character: str) -> str:
    """`character`, or the letter in a symbol; nothing for what stands invisibly between letters."""
    if character.isascii():
        return character
    category = unicodedata.category(character)
    if category in {"Cf", "Mn", "Mc"} or character in _BLANK:
        return ""
    return letter_in_symbol(character) if category == "So" else character
