"""Whether a text names the target: exactly, in look-alike letters, misspelt, by its surname alone, or in disguise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import OSA

from dmun_audit.knowledge.words.disguises import Disguises
from dmun_audit.knowledge.words.texts import skeleton, words_of
from dmun_audit.knowledge.words.transliterations import find_transliterated

PEOPLE = frozenset({"style", "identity"})  # their names end in a surname, which is a name too
PROPER = PEOPLE | {"brand"}  # kinds of targets whose names are proper names
# fmt: off
COMMON = frozenset([  # last words of names that are no names by themselves
    "art", "artist", "artists", "artwork", "baker", "bell", "bird", "bishop", "black", "bridge", "bridges", "brown", "bush",
    "church", "cook", "drawing", "field", "fields", "fish", "forest", "fox", "frost", "gates", "genre", "grace", "graffiti",
    "grant", "gray", "green", "grey", "hill", "hope", "house", "illustration", "king", "lake", "lane", "light", "long",
    "love", "manner", "marsh", "master", "masters", "miller", "moon", "movement", "north", "painter", "painters",
    "painting", "paintings", "park", "photo", "photograph", "photographer", "picture", "pictures", "portrait", "price",
    "print", "prints", "rivers", "rose", "school", "sculpture", "singer", "smith", "snow", "south", "star", "stone",
    "street", "style", "summer", "swift", "waters", "watercolor", "watercolour", "west", "white", "winter", "wolf", "wood",
    "woods", "work", "works", "young",
])
# fmt: on
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # scripts without spaces
_ENDINGS = frozenset({"s", "es", "a", "u", "an", "ian", "ean", "esque", "ish", "ism", "ist", "like"})
_SHORT = 7  # letters: in a shorter name only a doubled letter is a misspelling, otherwise "river" would be Rivera
_EXTRA_LETTERS = 2  # that a run of words may have beyond the longest name


class _Run(NamedTuple):
    """Consecutive words of a text joined without spaces: `written` folded, `latin` with Latin letters for look-alikes."""

    first: int
    last: int
    written: str
    latin: str


class Names:
    """Finds the names of one target in texts. It compares runs of whole words with each name."""

    def __init__(self, names: tuple[str, ...], kind: str) -> None:
        parts = {name: skeleton(name) for name in names}
        self._whole = {"".join(words): name for name, words in reversed(parts.items()) if words}
        self._longest = max(map(len, self._whole), default=0) + _EXTRA_LETTERS
        self._unspaced = {whole: name for whole, name in self._whole.items() if _UNSPACED.search(whole)}
        self._people = kind in PEOPLE
        own = parts[names[0]] if names else []
        surname = own[-1] if self._people and len(own) > 1 and len(own[-1]) > 3 and own[-1] not in COMMON else ""
        self._near = ({surname: names[0]} if surname else {}) | self._whole
        self._disguises = Disguises(names) if self._people else None
        self._spoken = {name: name for name in names} | ({surname: names[0]} if surname else {}) if kind in PROPER else {}
        self._close_name = lru_cache(maxsize=8192)(self._find_close)  # an interview and its checks ask for a text several times

    def find_exact(self, text: str) -> str | None:
        """The name that `text` contains, or None. Case, spaces, look-alike letters and the plural make no difference."""
        return next((name for run in self._runs(text) if (name := self._exact(run.latin))), self._find_unspaced(text))

    def find_close(self, text: str) -> str | None:
        """The name that `text` contains exactly or nearly. None if there is none.

        Near a name are a person's surname alone (unless it is a common word), a person's name with an ending ("Goghian"), and a
        misspelling. By optimal string alignment (a letter left out, added or replaced, or two swapped) a name of seven to nine
        letters may differ once, a longer one twice. In a shorter name only a doubled letter is a misspelling: "bench" is not
        "tench", "money" is not Monet, "river" is not Rivera. A person's name also counts in disguise (`Disguises`), and any proper
        name as it sounds in another alphabet.
        """
        return self._close_name(text)

    def _find_close(self, text: str) -> str | None:
        plain = self.find_exact(text) or self.find_misspelt(text) or self._find_surname(text)
        disguised = self._disguises.find(text) if self._disguises and not plain else None
        return plain or disguised or self._spoken.get(find_transliterated(text, tuple(self._spoken)) or "")

    def find_misspelt(self, text: str) -> str | None:
        """The name that `text` contains misspelt or with an ending, even if it contains another name exactly."""
        runs = list(self._runs(text))
        exact = [run for run in runs if run.latin in self._whole and len(run.latin) > 4]
        for run in runs:
            if run.latin in self._whole:
                continue
            has_more_words = any(run.first <= name.first and name.last <= run.last for name in exact)
            for whole, name in self._near.items():
                if self._is_inflected(run, whole) or (not has_more_words and _is_misspelling(run.latin, whole)):
                    return name
        return None

    def has_lookalike(self, text: str) -> bool:
        """Whether `text` contains a name with letters that only look like the name's letters."""
        return any(run.written != run.latin and run.latin in self._near for run in self._runs(text))

    def is_name(self, text: str) -> bool:
        """Whether `text` is a name of the target and nothing else."""
        return "".join(skeleton(text)) in self._whole

    def _exact(self, run: str) -> str | None:
        for known in (run, run.removesuffix("s"), run.removesuffix("es")):
            if known in self._whole and (known == run or len(known) > 3):
                return self._whole[known]
        return None

    def _find_unspaced(self, text: str) -> str | None:
        joined = "".join(skeleton(text)) if self._unspaced else ""
        return next((name for whole, name in self._unspaced.items() if whole in joined), None)

    def _find_surname(self, text: str) -> str | None:
        return next((self._near[run.latin] for run in self._runs(text) if run.latin in self._near), None)

    def _is_inflected(self, run: _Run, whole: str) -> bool:
        ending = run.latin[len(whole) :] if run.latin.startswith(whole) and len(whole) > 3 else ""
        single_word = run.first == run.last and len(whole) >= _SHORT
        return self._people and bool(ending) and (ending in _ENDINGS or single_word)

    def _runs(self, text: str) -> Iterator[_Run]:
        """Every run of words that is at most two letters longer than the longest name."""
        words = words_of(text)
        for first in range(len(words)):
            written = joined = ""
            for last, (word, latin) in enumerate(words[first:], start=first):
                written, joined = written + word, joined + latin
                if len(joined) > self._longest:
                    break
                yield _Run(first, last, written, joined)


def _is_misspelling(run: str, whole: str) -> bool:
    if run == whole or len(whole) < 5:
        return False
    if len(whole) < _SHORT:
        return len(run) > len(whole) and _undoubled(run) == _undoubled(whole)
    allowed = 1 if len(whole) < 10 else 2
    return abs(len(run) - len(whole)) <= allowed and OSA.distance(run, whole, score_cutoff=allowed) <= allowed


def _undoubled(word: str) -> str:
    """`word` with a single letter for every doubled one."""
    return re.sub(r"(.)\1+", r"\1", word)


@lru_cache(maxsize=64)
def names_of(names: tuple[str, ...], kind: str) -> Names:
    """The `Names` of a target. Its own name comes first in `names`; `kind` is a kind of dossiers."""
    return Names(names, kind)
