"""When two names are names of one concept."""

from __future__ import annotations

import re

from dmun_audit.knowledge.words.texts import skeleton

_BRACKETS = re.compile(r"\s*[(\[][^)\]]*[)\]]\s*")
_INVERTED = re.compile(r"^([^,]+),\s*([^,]+)$")  # "Monet, Claude"
_POSSESSIVE = re.compile(r"['’]s?(?=\s|$)")
_ARTICLES = frozenset({"a", "an", "the"})
# fmt: off
_QUALIFIERS = frozenset([  # words in brackets after a name that only say that it is an artist's
    "american", "art", "artist", "born", "british", "dutch", "english", "french", "german", "impressionist", "italian", "painter",
    "painting", "paintings", "photographer", "sculptor", "spanish", "style", "the", "work", "works",
])
# fmt: on


def identity(name: str) -> str:
    """What all spellings of a concept's name share: two names with the same identity are names of one concept.

    Case, accents, look-alike letters, spaces, hyphens, articles, the plural, the possessive, a name with its last part first and
    an explanation in brackets make no difference. An explanation of a single word stays unless it only says that an artist is meant:
    "Mercury (planet)" and "Mercury (metal)" are two concepts.

    Example:
        >>> {identity(name) for name in ("Claude Monet", "claude monets", "Monet, Claude", "Claude Monet (artist)")}
        {'claudemonet'}
    """
    name = _BRACKETS.sub(lambda found: " " if _explains(name, found[0]) else found[0], name).strip() or name
    if inverted := _INVERTED.match(name):
        name = f"{inverted[2]} {inverted[1]}"
    words = skeleton(_POSSESSIVE.sub("", name)) or skeleton(name)
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return "".join([*words[:-1], _singular(words[-1])]) if words else ""


def _explains(name: str, brackets: str) -> bool:
    """Whether `brackets` only explain the rest of `name`."""
    rest = skeleton(_BRACKETS.sub(" ", name))
    inside = skeleton(brackets)
    return bool(rest) and (len(rest) > 1 or all(word in _QUALIFIERS or word.isdigit() for word in inside))


def _singular(word: str) -> str:
    if len(word) < 4 or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word.removesuffix("ies") + "y"
    if word.endswith(("ches", "shes", "xes", "zes", "sses")):
        return word.removesuffix("es")
    return word.removesuffix("s")
