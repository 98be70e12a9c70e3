"""What speaks against a name that a target is said to have, without asking a language model."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz import fuzz

from dmun_audit.knowledge.words.content_words import ARTICLES, PARTICLES, content_words
from dmun_audit.knowledge.words.identity import identity
from dmun_audit.knowledge.words.names import COMMON, PROPER, Names, names_of
from dmun_audit.knowledge.words.placeholders import is_placeholder, says_only_the_medium
from dmun_audit.knowledge.words.texts import fold, skeleton
from dmun_audit.knowledge.words.transliterations import romanised, sounds_alike

_SAME_WORD = 80.0  # per cent of shared letters from which two words of names count as one
_SHORTEST_WORD = 3  # letters of a word that two names may share
_MOVEMENT = re.compile(r"(?:isms?|ists?|istic)$")
# fmt: off
_MOVEMENTS = frozenset([
    "abstractart", "artdeco", "artnouveau", "avantgarde", "barbizonschool", "baroque", "bauhaus", "conceptualart", "constructivist",
    "dada", "dadaists", "destijl", "earlynetherlandish", "folkart", "gothic", "highrenaissance", "hudsonriverschool", "jugendstil",
    "minimalart", "modernart", "naiveart", "neoclassical", "opart", "popart", "preraphaelite", "preraphaelites", "renaissance",
    "rococo", "romanesque", "streetart", "ukiyoe", "viennasecession",
])
# fmt: on


def shares_a_word(alias: str, name: str) -> bool:
    """Whether `alias` and `name` share a word that says whom or what they mean, in some spelling of it."""
    if fuzz.ratio("".join(skeleton(alias)), "".join(skeleton(name))) >= _SAME_WORD + 5:
        return True
    own = _telling_words(name)
    return any(word == other or fuzz.ratio(word, other) >= _SAME_WORD for word in _telling_words(alias) for other in own)


def _telling_words(name: str) -> list[str]:
    words = [word for word in skeleton(name) if len(word) >= _SHORTEST_WORD and word not in ARTICLES | PARTICLES]
    return [word for word in words if word not in COMMON] or words


def is_surely_a_name(alias: str, name: str) -> bool:
    """Whether `alias` is the target's own `name` in another spelling, or with no more than a word such as "painting" added."""
    if identity(alias) == identity(name) or (content_words(alias) and content_words(alias) == content_words(name)):
        return True
    if not alias.isascii() and romanised(fold(alias)).replace(" ", "") != "".join(skeleton(alias)):
        return sounds_alike(alias, name)
    whole, own = "".join(skeleton(alias)), "".join(skeleton(name))
    return len(own) >= 7 and fuzz.ratio(whole, own) >= 90


def unfitness(alias: str, name: str, kind: str) -> str:
    """Why `alias` cannot be another name of the target `name`, whoever says so; "" if it can.

    The name of a person, of a manner of drawing or of a brand is no common noun and no movement.
    """
    if is_placeholder(alias):
        return "it is a placeholder"
    if says_only_the_medium(alias):
        return "it says how a picture is made, and not what it shows"
    if kind not in PROPER or shares_a_word(alias, name):
        return ""
    whole = "".join(skeleton(alias))
    if whole in _MOVEMENTS or (alias.isascii() and _MOVEMENT.search(whole)):
        return "it is a movement or a group, and shares no word with the name"
    if alias.isascii() and alias.islower() and not name.islower():
        return "it is written as a common noun, and shares no word with the name"
    return ""


def shares_nothing(alias: str, names: Sequence[str], kind: str) -> bool:
    """Whether `alias`, in Latin letters, shares no word with any of `names`: for a proper name this needs a reason."""
    return kind in PROPER and alias.isascii() and not any(shares_a_word(alias, name) for name in names)


def plausible_names(name: str, aliases: Sequence[str], kind: str) -> Names:
    """The target's own `name` and those of its other names that are plausible, to be found in texts.

    For a proper name, an alias is plausible if it shares a word with the name or is written in another script.
    """
    plausible = [alias for alias in aliases if not unfitness(alias, name, kind) and not shares_nothing(alias, (name,), kind)]
    return names_of((name, *plausible), kind)
