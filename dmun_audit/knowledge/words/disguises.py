"""Names of a person in disguise: initials, the first name alone, the last name first, letters in reverse."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from dmun_audit.knowledge.words.texts import skeleton

_FEWEST_INITIALS = 3
_SHORTEST_REVERSED = 5  # letters of a name that is looked for in reverse
_SHORTEST_FIRST_NAME = 4
_DOTTED = re.compile(r"(?<!\w)(?:[^\W\d_]\.[\s-]?){2,}[^\W\d_](?!\w)")
_CAPITALS = re.compile(r"(?<!\w)[A-Za-z]{3,5}(?!\w)")
_NEXT_WORD = re.compile(r"[\s-]+([^\W\d_]+)")
_LAST_WORD = re.compile(r"([^\W\d_]+)\.?[\s-]+$")
PARTICLES_OF_NAMES = frozenset(
    {"van", "von", "de", "den", "der", "del", "della", "di", "da", "du", "la", "le", "el", "al", "bin", "ter"}
)
# fmt: off
_WORDS = frozenset([  # first names that are words, and titles that stand before names
    "amber", "april", "archbishop", "august", "baron", "bill", "bishop", "brother", "captain", "chance", "chase", "christian", "count",
    "crystal", "daisy", "dame", "dawn", "dean", "doctor", "duke", "earl", "emperor", "empress", "faith", "father", "frank", "grace",
    "grant", "hazel", "holly", "hope", "hunter", "iris", "jack", "jade", "january", "jasmine", "jesus", "king", "lady", "lily", "little",
    "lord", "madame", "madonna", "major", "maria", "mark", "mary", "mason", "master", "melody", "miles", "miss", "mister", "monsieur",
    "mother", "norman", "olive", "opal", "pearl", "penny", "pope", "president", "prince", "princess", "professor", "queen", "rich",
    "robin", "rose", "ruby", "saint", "sandy", "scarlet", "senator", "sister", "skip", "summer", "victor", "viola", "violet", "virgin",
    "will", "willow", "winter", "young",
])
# fmt: on


class Disguises:
    """What the names of one person look like in disguise. The person's own name comes first in `names`."""

    def __init__(self, names: Sequence[str]) -> None:
        parts = {name: skeleton(name) for name in names if name.isascii()}
        self._reversed = {"".join(words)[::-1]: name for name, words in reversed(parts.items())}
        self._inverted = {tuple(sorted(words)): (name, words) for name, words in reversed(parts.items()) if len(words) > 1}
        self._initials: dict[str, tuple[str, str]] = {}
        self._first_names: dict[str, str] = {}
        self._abbreviated: list[tuple[re.Pattern[str], str]] = []
        surname = (parts.get(names[0]) or [""])[-1] if names else ""
        for name, words in reversed(parts.items()):
            if len(words) >= _FEWEST_INITIALS:
                letters = "".join(word[0] for word in re.findall(r"[^\W\d_]+", name))
                self._initials[letters.lower()] = (name, letters)
            if len(words) > 1 and words[-1] == surname:
                self._abbreviated.append(
                    (re.compile(rf"(?<!\w){words[0][0]}\.\s*{re.escape(surname)}(?!\w)", re.IGNORECASE), name)
                )
                first = _plain(name.split()[0])
                if len(first) >= _SHORTEST_FIRST_NAME and first.isalpha() and first.lower() not in _WORDS | PARTICLES_OF_NAMES:
                    self._first_names[first.lower()] = name

    def find(self, text: str) -> str | None:
        """The name that `text` holds in disguise, or None."""
        plain = _plain(text)
        words = skeleton(text)
        return (
            self._find_reversed(words)
            or self._find_inverted(words)
            or self._find_initials(plain)
            or next((name for pattern, name in self._abbreviated if pattern.search(plain)), None)
            or self._find_first_name(plain)
        )

    def _find_reversed(self, words: Sequence[str]) -> str | None:
        for backwards, name in self._reversed.items():
            if len(backwards) < _SHORTEST_REVERSED or backwards == backwards[::-1]:
                continue
            if backwards in words or any(backwards == "".join(words[at : at + n]) for n in (2, 3, 4) for at in range(len(words))):
                return name
        return None

    def _find_inverted(self, words: Sequence[str]) -> str | None:
        for ordered, (name, own) in self._inverted.items():
            size = len(ordered)
            windows = (words[at : at + size] for at in range(len(words) - size + 1))
            if any(window != own and tuple(sorted(window)) == ordered for window in windows):
                return name
        return None

    def _find_initials(self, text: str) -> str | None:
        if not self._initials:
            return None
        for found in _DOTTED.findall(text):
            letters = "".join(filter(str.isalpha, found)).lower()
            if letters in self._initials:
                return self._initials[letters][0]
        for word in _CAPITALS.findall(text):
            name, letters = self._initials.get(word.lower(), ("", ""))
            if name and word in (letters, letters.upper()):
                return name
        return None

    def _find_first_name(self, text: str) -> str | None:
        """The name whose first name stands in `text` without the name of another person after or before it."""
        lower = text.lower()
        for first, name in self._first_names.items():
            at = lower.find(first) if len(lower) == len(text) else -1
            while at >= 0:
                if self._stands_alone(text, at, at + len(first)):
                    return name
                at = lower.find(first, at + 1)
        return None

    def _stands_alone(self, text: str, start: int, end: int) -> bool:
        before, after = text[:start], text[end:]
        if (before and (before[-1].isalnum() or before[-1] == "-")) or (after and (after[0].isalnum() or after[0] == "-")):
            return False
        following, preceding = _NEXT_WORD.match(after), _LAST_WORD.search(before)
        if not text[start].isupper():
            return following is None and preceding is not None
        other = following is not None and (following[1][0].isupper() or following[1] in PARTICLES_OF_NAMES)
        return not other and not (preceding is not None and preceding[1][0].isupper() and len(preceding[1]) > 1)


def _plain(text: str) -> str:
    """`text` without accents; its case stays."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
