"""Whether a prompt mentions its concept."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

from rapidfuzz import fuzz

from dmun_audit.knowledge.words.content_words import content_words
from dmun_audit.knowledge.words.texts import skeleton

_SAME_WORD = 75.0  # per cent of shared letters from which two words count as forms of one word
_SHORTEST_STEM = 4  # letters of a word that is a part of a longer one
_LONG_WORD = 7  # letters from which two words with one stem count as forms of one ("swimsuit", "swimwear")
_SHARED_BEGINNING = 5  # letters that two longer words share if they are forms of one ("ballet", "ballerina")
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "people": "person",
}


def mentions(prompt: str, name: str, label: str) -> bool:
    """Whether `prompt` holds a word of the concept's name or label that says what it is, in some form of the word.

    For a concept that is named by a phrase ("man in a black T-shirt on stage"), one such word is enough.
    """
    known = _words(name) | _words(label)
    return not known or any(_same_word(word, other) for word in _all_words(prompt) for other in known)


@lru_cache(maxsize=2048)
def _words(text: str) -> frozenset[str]:
    return frozenset(content_words(text)) or frozenset(skeleton(text))


@lru_cache(maxsize=8192)
def _all_words(prompt: str) -> frozenset[str]:
    words = skeleton(prompt)
    return frozenset(words) | {first + second for first, second in pairwise(words)}


@lru_cache(maxsize=65536)
def _same_word(word: str, other: str) -> bool:
    """Whether two words are forms of one word, or one is the last part of the other ("robe", "bathrobe")."""
    word, other = _singular(word), _singular(other)
    if word == other:
        return True
    shorter, longer = sorted((word, other), key=len)
    if len(shorter) >= _SHORTEST_STEM and (longer.startswith(shorter) or longer.endswith(shorter)):
        return True
    if len(shorter) >= _LONG_WORD:
        return word[:_SHORTEST_STEM] == other[:_SHORTEST_STEM]
    return word[:_SHARED_BEGINNING] == other[:_SHARED_BEGINNING] and (
        len(shorter) > _SHARED_BEGINNING or fuzz.ratio(word, other) >= _SAME_WORD
    )


def _singular(word: str) -> str:
    if word in _IRREGULAR or len(word) < 4:
        return _IRREGULAR.get(word, word)
    for ending, singular in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", "")):
        if word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending) + singular
    return word
