"""Does a text name the target? Exactly, with look-alike letters, with a slip of the pen, or by its surname alone."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rapidfuzz import fuzz

from dmun_audit.knowledge.dossier import Kind, fold

ALIKE = 86.0  # per cent; one slip in a name of seven letters or more; "bench" is not taken for "tench"
PEOPLE = frozenset({"style", "identity"})  # their names end in a surname, which names them too
_LOOK_ALIKES = str.maketrans("аеорсухіјѕԁһӏкмтвнгɡαβεικνορτυχ", "aeopcyxijsdhlkmtbhrgabeiknoptux")
_WORDS = re.compile(r"[^\W_]+")


def skeleton(text: str) -> list[str]:
    """The words of `text` as a hasty reader sees them: folded, look-alike letters of other scripts made Latin."""
    folded = fold(text)
    latin = folded.translate(_LOOK_ALIKES)
    return [word for both in zip(_WORDS.findall(folded), _WORDS.findall(latin), strict=True) for word in [_plain(*both)]]


def _plain(word: str, latin: str) -> str:
    """A word of look-alikes alone is read as Latin only if nothing of another script is left over in it."""
    return latin if latin.isascii() else word


def named_in(text: str, names: Iterable[str], kind: Kind) -> str | None:
    """The name of the target that `text` holds, or comes close to; None where it holds none.

    Names are compared with every run of as many words (one more or less, for names that are split or joined), by
    Levenshtein similarity over letters (Indel ratio of rapidfuzz, at least ALIKE per cent).
    """
    words = skeleton(text)
    for name in names:
        parts = skeleton(name)
        if parts and _comes_close(words, parts):
            return name
        surname = parts[-1] if parts else ""
        if kind in PEOPLE and len(parts) > 1 and len(surname) > 3 and _comes_close(words, [surname]):
            return name
    return None


def _comes_close(words: list[str], parts: list[str]) -> bool:
    wanted = "".join(parts)
    for length in {max(1, len(parts) - 1), len(parts), len(parts) + 1}:
        for start in range(len(words) - length + 1):
            run = "".join(words[start : start + length])
            if run == wanted or (len(wanted) > 4 and fuzz.ratio(run, wanted) >= ALIKE):
                return True
    return False
