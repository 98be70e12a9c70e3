"""What is left of a prompt without certain names: "a painting of a house by Van Gogh" without the painter is "a painting of a house"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.knowledge.words.content_words import ARTICLES, PARTICLES, content_words
from dmun_audit.knowledge.words.names import COMMON, PEOPLE
from dmun_audit.knowledge.words.texts import skeleton

_WORD = re.compile(r"[^\W_]+")
_CONNECTIVE = re.compile(
    r"(?:^|(?<=[\s,;:(-]))(?:"
    r"(?:painted|drawn|made|created|designed|photographed|illustrated|printed|etched|signed|imagined)\s+(?:by|like)|"
    r"(?:in\s+)?(?:the|a)\s+(?:\w+\s+)?(?:style|manner|spirit|vein|fashion|tradition)\s+of|in\s+the\s+vein\s+of|style\s+of|"
    r"inspired\s+by|as\s+if\s+by|à\s+la|by|after|of|from|with|like|and|or"
    r")\s*$",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"(?:^|(?<=[\s,;:(-]))(?:a|an|the)\s+$", re.IGNORECASE)
_ENDING = re.compile(r"^(?:['’]s?\b)?(?:[\s-]+(?:style|esque)\b)?", re.IGNORECASE)
_EDGES = " \t,;:.–—-"


def remainder(prompt: str, names: Iterable[str]) -> str:
    """`prompt` without the names, and without the connectives that lead to them; empty if nothing else is in it.

    Case, accents, look-alike letters and the plural make no difference to a name. A connective is a phrase such as "by",
    "painted by", "of", "in the style of" or "in the manner of" right before a name; an article before a name goes too.

    Example:
        >>> remainder("a picture of a mountain painted by Van Gogh", ["Van Gogh"])
        'a picture of a mountain'
        >>> remainder("tulips in the style of Seurat", ["tulips"])
        'in the style of Seurat'
    """
    text = prompt
    wanted = _joined(tuple(names))
    while (span := _first_name(text, wanted)) is not None:
        before, after = text[: span[0]], text[span[1] :]
        before = _ARTICLE.sub("", before)
        before = _CONNECTIVE.sub("", before)
        text = _tidy(before + " " + _ENDING.sub("", after, count=1))
    return text


def concept_names(concept: NearbyConcept) -> tuple[str, ...]:
    """The names by which the prompts of a concept may call it: its name, and the parts of a person's name.

    "Rembrandt van Rijn" may be called "Rembrandt", and "Paul Gauguin" "Gauguin".
    """
    words = concept.name.split()
    if concept.kind not in PEOPLE or len(words) < 2:
        return (concept.name,)
    parts = [
        word for word in words if len(word) > 3 and not COMMON.intersection(skeleton(word)) and word.casefold() not in PARTICLES
    ]
    return (concept.name, *parts)


@lru_cache(maxsize=1024)
def _joined(names: tuple[str, ...]) -> frozenset[str]:
    words = [skeleton(name) for name in names]
    words = [each[1:] if len(each) > 1 and each[0] in ARTICLES else each for each in words]
    return frozenset("".join(each) for each in words if each)


def _first_name(text: str, wanted: frozenset[str]) -> tuple[int, int] | None:
    """Where the first and longest name stands in `text`: start and end."""
    longest = max(map(len, wanted), default=0) + 2
    words = list(_word_spans(text))
    for first in range(len(words)):
        joined, found = "", None
        for _, end, latin in words[first:]:
            joined += latin
            if len(joined) > longest:
                break
            if _is_name(joined, wanted):
                found = (words[first][0], end)
        if found:
            return found
    return None


def _is_name(run: str, wanted: frozenset[str]) -> bool:
    singular = (run, *(run.removesuffix(ending) for ending in ("s", "es") if run.endswith(ending) and len(run) > 4))
    return any(each in wanted for each in singular) or f"{run}s" in wanted


def _word_spans(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _WORD.finditer(text):
        yield match.start(), match.end(), "".join(skeleton(match.group()))


def _tidy(text: str) -> str:
    text = " ".join(text.split())
    text = re.sub(r"\s+([,;:.)])", r"\1", text)
    text = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)
    return text.strip(_EDGES)


def distinct(texts: Sequence[str]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The different texts that mean the same, by their content words. A text without content words is left out."""
    classes: dict[tuple[str, ...], dict[str, None]] = {}
    for text in texts:
        if words := content_words(text):
            classes.setdefault(words, {})[text] = None
    return {words: tuple(members) for words, members in classes.items()}
