"""Does a text name the target? Plainly, with look-alike letters, with a slip of the pen, or by its surname alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import OSA

from dmun_audit.knowledge.texts import skeleton, words_of

PEOPLE = frozenset({"style", "identity"})  # their names end in a surname, which names them too
# fmt: off
COMMON = frozenset([  # what a name may end in without being named by it
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
_SHORT = 7  # letters: in a shorter name a doubled letter is the only slip, else "river" were Rivera
_SLACK = 2  # letters by which a run of words may be longer than the longest name


class _Run(NamedTuple):
    """Words of a text one after another, without spaces: as written, and as a hasty reader sees them."""

    first: int
    last: int
    written: str
    seen: str


class Names:
    """All names of one target, and what else comes close to one. Texts are compared by runs of whole words."""

    def __init__(self, names: tuple[str, ...], kind: str) -> None:
        parts = {name: skeleton(name) for name in names}
        self._whole = {"".join(words): name for name, words in reversed(parts.items()) if words}
        self._longest = max(map(len, self._whole), default=0) + _SLACK
        self._unspaced = {whole: name for whole, name in self._whole.items() if _UNSPACED.search(whole)}
        self._people = kind in PEOPLE
        own = parts[names[0]] if names else []
        surname = own[-1] if self._people and len(own) > 1 and len(own[-1]) > 3 and own[-1] not in COMMON else ""
        self._near = ({surname: names[0]} if surname else {}) | self._whole

    def plainly_in(self, text: str) -> str | None:
        """The name that `text` holds as it is: its words one after another, split or joined, in whatever case, with look-alike
        letters, or with the ending of a plural. None where it holds none."""
        return next((name for run in self._runs(text) if (name := self._plain(run.seen))), self._inside(text))

    def close_in(self, text: str) -> str | None:
        """The name that `text` holds plainly or comes close to; None where it holds none.

        Close is a person's surname alone (unless it is a common word), a person's name with an ending ("Goghian"), and a
        slip: by optimal string alignment (a letter left out, added, replaced, or two swapped) one in a name of seven to
        nine letters and two in a longer one. In a shorter name only a doubled letter is a slip: "bench" is not "tench",
        "money" not Monet, "river" not Rivera.
        """
        return self.plainly_in(text) or self.slip_in(text) or self._surname_in(text)

    def slip_in(self, text: str) -> str | None:
        """The name that `text` holds with a slip or an ending, whether or not it holds another one plainly."""
        runs = list(self._runs(text))
        plain = [run for run in runs if run.seen in self._whole and len(run.seen) > 4]
        for run in runs:
            if run.seen in self._whole:
                continue
            more = any(run.first <= name.first and name.last <= run.last for name in plain)  # a name and further words
            for whole, name in self._near.items():
                if self._inflected(run, whole) or (not more and _slip(run.seen, whole)):
                    return name
        return None

    def disguised_in(self, text: str) -> bool:
        """Whether `text` holds a name of which some letters only look like those of the name."""
        return any(run.written != run.seen and run.seen in self._near for run in self._runs(text))

    def is_one(self, text: str) -> bool:
        """Whether `text` is a name of the target and nothing else."""
        return "".join(skeleton(text)) in self._whole

    def _plain(self, run: str) -> str | None:
        for known in (run, run.removesuffix("s"), run.removesuffix("es")):
            if known in self._whole and (known == run or len(known) > 3):
                return self._whole[known]
        return None

    def _inside(self, text: str) -> str | None:
        joined = "".join(skeleton(text)) if self._unspaced else ""
        return next((name for whole, name in self._unspaced.items() if whole in joined), None)

    def _surname_in(self, text: str) -> str | None:
        return next((self._near[run.seen] for run in self._runs(text) if run.seen in self._near), None)

    def _inflected(self, run: _Run, whole: str) -> bool:
        ending = run.seen[len(whole) :] if run.seen.startswith(whole) and len(whole) > 3 else ""
        alone = run.first == run.last and len(whole) >= _SHORT
        return self._people and bool(ending) and (ending in _ENDINGS or alone)

    def _runs(self, text: str) -> Iterator[_Run]:
        """Every run of words that is not much longer than the longest name."""
        words = words_of(text)
        for first in range(len(words)):
            written = seen = ""
            for last, (word, latin) in enumerate(words[first:], start=first):
                written, seen = written + word, seen + latin
                if len(seen) > self._longest:
                    break
                yield _Run(first, last, written, seen)


def _slip(run: str, whole: str) -> bool:
    if run == whole or len(whole) < 5:
        return False
    if len(whole) < _SHORT:
        return len(run) > len(whole) and _single(run) == _single(whole)
    allowed = 1 if len(whole) < 10 else 2
    return abs(len(run) - len(whole)) <= allowed and OSA.distance(run, whole, score_cutoff=allowed) <= allowed


def _single(word: str) -> str:
    """`word` with every doubled letter as one."""
    return re.sub(r"(.)\1+", r"\1", word)


@lru_cache(maxsize=64)
def names_of(names: tuple[str, ...], kind: str) -> Names:
    """The `Names` of a target, whose own name comes first."""
    return Names(names, kind)
