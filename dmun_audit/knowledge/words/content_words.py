"""The words of a text that say what a picture shows, without those that say how it was made or that only link others."""

from __future__ import annotations

from dmun_audit.knowledge.words.texts import skeleton

ARTICLES = frozenset({"a", "an", "the"})
PARTICLES = frozenset(
    {"van", "von", "de", "den", "der", "del", "della", "di", "da", "du", "la", "le", "el", "al", "bin", "of", "the"}
)
# fmt: off
_MEDIA = frozenset([  # words that say how a picture was made, and nothing of what it shows
    "art", "artwork", "close", "closeup", "digital", "drawing", "engraving", "illustration", "image", "macro", "oil",
    "painting", "paintings", "photo", "photograph", "photographed", "photography", "photos", "pic", "picture", "pictures",
    "print", "sketch", "up", "watercolor", "watercolour", "painted", "drawn", "made", "style", "manner",
])
_LINKS = frozenset(["after", "and", "at", "by", "from", "in", "like", "of", "on", "or", "to", "with"])
# fmt: on
_WITHOUT_CONTENT = ARTICLES | _MEDIA | _LINKS


def content_words(text: str) -> tuple[str, ...]:
    """The folded words of `text` that say what a picture shows: without articles, links, and words such as "painting".

    Two texts with the same content words mean the same: "a painting of a house", "a house", "a picture of a house".
    """
    return tuple(word for word in skeleton(text) if word not in _WITHOUT_CONTENT)
