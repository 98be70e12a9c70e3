"""Does a text name the target? Plainly, with look-alike letters, with a slip of the pen, or by its surname alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from rapidfuzz.distance import OSA

from dmun_audit.knowledge.texts import skeleton

PEOPLE = frozenset({"style", "identity"})  # their names end in a surname, which names them too
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # scripts without spaces
_ENDINGS = frozenset({"s", "es", "a", "u", "an", "ian", "ean", "esque", "ish", "ism", "ist", "like"})


class Names:
    """All names of one target, and what else comes close to one. Texts are compared word by word, not letter by letter."""

    def __init__(self, names: tuple[str, ...], kind: str) -> None:
        parts = {name: skeleton(name) for name in names}
        self._whole = {"".join(words): name for name, words in reversed(parts.items()) if words}
        self._longest = max((len(words) for words in parts.values()), default=0) + 1
        self._unspaced = {whole: name for whole, name in self._whole.items() if _UNSPACED.search(whole)}
        self._people = kind in PEOPLE
        surnames = {words[-1]: name for name, words in reversed(parts.items()) if len(words) > 1 and len(words[-1]) > 3}
        self._near = (surnames if self._people else {}) | self._whole

    def plainly_in(self, text: str) -> str | None:
        """The name that `text` holds as it is: its words one after another, split or joined, in whatever case, with look-alike
        letters, or with the ending of a plural. None where it holds none."""
        words = skeleton(text)
        for run in self._runs(words):
            for known in (run, run.removesuffix("s"), run.removesuffix("es")):
                if known in self._whole and (known == run or len(known) > 3):
                    return self._whole[known]
        joined = "".join(words)
        return next((name for whole, name in self._unspaced.items() if whole in joined), None)

    def is_one(self, text: str) -> bool:
        """Whether `text` is a name of the target and nothing else."""
        return "".join(skeleton(text)) in self._whole

    def close_in(self, text: str) -> str | None:
        """The name that `text` holds plainly or comes close to; None where it holds none.

        Close is a person's surname alone, a person's name with an ending ("Goghian"), and a slip: by optimal string alignment
        (a letter left out, added, replaced, or two swapped) one in a name of five to nine letters and two in a longer one.
        In five or six letters a replaced letter is no slip, nor is another first letter: "bench" is not "tench", and Manet
        not Monet.
        """
        plainly = self.plainly_in(text)
        if plainly:
            return plainly
        for run in self._runs(skeleton(text)):
            for whole, name in self._near.items():
                if run == whole or self._inflected(run, whole) or _slip(run, whole):
                    return name
        return None

    def _inflected(self, run: str, whole: str) -> bool:
        return self._people and len(whole) > 3 and run.startswith(whole) and run[len(whole) :] in _ENDINGS

    def _runs(self, words: list[str]) -> Iterator[str]:
        """Every run of words, up to one more than a name has, without spaces."""
        for length in range(1, self._longest + 1):
            for start in range(len(words) - length + 1):
                yield "".join(words[start : start + length])


def _slip(run: str, whole: str) -> bool:
    allowed = 0 if len(whole) < 5 else 1 if len(whole) < 10 else 2
    if not allowed or abs(len(run) - len(whole)) > allowed:
        return False
    short = len(whole) < 7
    if short and (run[:1] != whole[:1] or (len(run) == len(whole) and sorted(run) != sorted(whole))):
        return False
    return OSA.distance(run, whole, score_cutoff=allowed) <= allowed


@lru_cache(maxsize=64)
def names_of(names: tuple[str, ...], kind: str) -> Names:
    """The `Names` of a target."""
    return Names(names, kind)
