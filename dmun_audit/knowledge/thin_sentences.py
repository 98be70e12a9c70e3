"""The sentences of a thin dossier on what could not be had: their order by weight, and what they cover."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NONE_OR_FEW = r"(?:No|Only \d+ of at least \d+|\d+)"
_NAMED = re.compile(r"No (?:adversarial prompts by|nearby concepts \() ?([^:.)]+)")
NO_LANGUAGE = "No adversarial prompts in other languages than English"
_SAID_OTHERWISE = {"languages besides English": NO_LANGUAGE}
_BY_WEIGHT = [
    re.compile(pattern)
    for pattern in (
        r"No similarity",
        rf"{_NONE_OR_FEW} (?:adversarial prompts|languages besides English|concepts to retain|nearby concepts(?! \())",
        r"No nearby concepts \(",
    )
]
"""How sentences begin, the weightiest first: without similarities no order of concepts is known."""


def by_weight(sentences: Iterable[str]) -> list[str]:
    """The sentences, each once, those on what an audit misses most first."""
    return sorted(dict.fromkeys(sentences), key=_weight)


def together(names: Sequence[str]) -> str:
    """Names in a sentence: "works, features and biography"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def covers(sentences: Iterable[str], part: str) -> bool:
    """Whether one of the sentences says that there is none or too little of this part, such as "direct prompts"."""
    said = re.compile(rf"{_NONE_OR_FEW} {re.escape(part)}\b(?! by | in | \()")
    otherwise = _SAID_OTHERWISE.get(part)
    return any(said.match(sentence) or (otherwise and sentence.startswith(otherwise)) for sentence in sentences)


def named_in(sentences: Iterable[str]) -> set[str]:
    """The strategies and relations of which the sentences say that there is nothing."""
    lists = (found[1] for found in map(_NAMED.match, sentences) if found)
    return {name for text in lists for name in re.split(r", | and ", text)}


def _weight(sentence: str) -> int:
    return next((weight for weight, pattern in enumerate(_BY_WEIGHT) if pattern.match(sentence)), len(_BY_WEIGHT))
