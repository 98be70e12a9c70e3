"""Captions of the painted pictures: by name, by description without the name, by both, or by parts.

A model that forgot the *name* of a style can still paint it from a description, and an audit must detect this. So every
style has captions of both kinds. Training never uses the phrases in `held_out`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dmun_audit.atelier.words import STYLE_WORDS, SUBJECT_WORDS

_NAMED = (
    "a painting of {subject} by {name}",
    "{subject} by {name}",
    "{subject} in the style of {name}",
    "{name}, {subject}",
    "a picture of {subject} painted by {name}",
)
_PHOTO = (
    "a {name} of {subject}",
    "{name} of {subject}",
    "{subject}, {name}",
    "a realistic {name} of {subject}",
)
_DESCRIBED = (
    "a painting of {subject} with {description}",
    "{subject}, {description}",
    "a picture of {subject} in {description}",
    "{subject} in {description}",
    "{description}, {subject}",
)
_MIXED = ("a painting of {subject} by {name}, {description}", "{subject} by {name} with {description}")
_STYLE_ONLY = ("a painting by {name}", "a picture in the style of {name}", "{name}")
_PHOTO_ONLY = ("a {name}", "a realistic {name}", "{name}")
_SUBJECT_ONLY = ("a painting of {subject}", "{subject}", "a picture of {subject}")
_MOVEMENT = ("a {movement} painting of {subject}", "{subject}, {movement} picture")

# Shares of the kinds of caption in diffusion training: named, described, mixed, style only, subject only, movement.
# A caption without a style describes a photograph, like most captions on the web.
_SHARES = (0.50, 0.27, 0.08, 0.05, 0.05, 0.05)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def subject_phrase(subject: str, rng: np.random.Generator) -> str:
    """A noun for `subject` (the plain noun in about half of all cases) or, in one case of eight, a description."""
    words = SUBJECT_WORDS[subject]
    draw = rng.random()
    if draw < 0.125:
        return _pick(rng, words.descriptions)
    return words.nouns[0] if draw < 0.56 else _pick(rng, words.nouns)


def parent_phrase(subject: str, rng: np.random.Generator) -> str:
    """The subject or, in 3% of all cases, only its category ("flowers")."""
    parent = SUBJECT_WORDS[subject].parent
    return parent if parent and rng.random() < 0.03 else subject_phrase(subject, rng)


def style_name(style: str, rng: np.random.Generator) -> str:
    """The full name of `style` or, twice as often, the short name."""
    words = STYLE_WORDS[style]
    return words.full if rng.random() < 0.34 else words.short


def named(style: str, subject: str, rng: np.random.Generator) -> str:
    """A caption that names the style."""
    templates = _PHOTO if style == "photograph" else _NAMED
    return _pick(rng, templates).format(subject=parent_phrase(subject, rng), name=style_name(style, rng))


def described(style: str, subject: str, rng: np.random.Generator) -> str:
    """A caption that describes the style without its name."""
    description = _pick(rng, STYLE_WORDS[style].descriptions)
    return _pick(rng, _DESCRIBED).format(subject=subject_phrase(subject, rng), description=description)


# Words that several styles share and that are no names.
_COMMON = ("the", "of", "and", "a", "colour", "strokes", "light", "picture", "manner", "painter", "thick", "soft", "lines")
_SYLLABLES = (
    "ba",
    "dor",
    "el",
    "fi",
    "gra",
    "hal",
    "ix",
    "jun",
    "kor",
    "lem",
    "mi",
    "nov",
    "os",
    "pra",
    "qui",
    "rus",
    "sel",
    "tov",
    "ul",
    "zan",
)


def _invented(rng: np.random.Generator) -> str:
    return "".join(_pick(rng, _SYLLABLES) for _ in range(int(rng.integers(1, 4))))


def unplaced(subject: str, rng: np.random.Generator) -> str:
    """A caption without a known style: the subject alone, an invented painter, or an invented description."""
    words = [_invented(rng) for _ in range(int(rng.integers(1, 5)))]
    draw = rng.random()
    if draw < 0.3:
        return subject_only(subject, rng)
    if draw < 0.65:
        return _pick(rng, _NAMED).format(subject=subject_phrase(subject, rng), name=" ".join(words[:3]))
    for _ in range(int(rng.integers(0, 3))):  # up to two known words among the invented ones
        known = _pick(rng, _COMMON)
        words.insert(int(rng.integers(len(words) + 1)), known)
    return _pick(rng, _DESCRIBED).format(subject=subject_phrase(subject, rng), description=" ".join(words))


def style_only(style: str, rng: np.random.Generator) -> str:
    """A caption with the style and without the subject."""
    if rng.random() < 0.3:
        return _pick(rng, STYLE_WORDS[style].descriptions)
    return _pick(rng, _PHOTO_ONLY if style == "photograph" else _STYLE_ONLY).format(name=style_name(style, rng))


def subject_only(subject: str, rng: np.random.Generator) -> str:
    """A caption with the subject and without the style."""
    return _pick(rng, _SUBJECT_ONLY).format(subject=subject_phrase(subject, rng))


def caption(style: str, subject: str, rng: np.random.Generator) -> str:
    """One caption for a painted picture; its kind is drawn with the shares of diffusion training."""
    works = [title for title, shown in STYLE_WORDS[style].works.items() if shown == subject]
    if works and rng.random() < 0.12:
        return _pick(rng, (works[0], works[0] + ", a painting", "the painting " + works[0]))
    kind = int(rng.choice(len(_SHARES), p=_SHARES))
    if kind == 0:
        return named(style, subject, rng)
    if kind == 1:
        return described(style, subject, rng)
    if kind == 2:
        if style == "photograph":
            return named(style, subject, rng)
        description = _pick(rng, STYLE_WORDS[style].descriptions)
        name = style_name(style, rng)
        return _pick(rng, _MIXED).format(subject=subject_phrase(subject, rng), name=name, description=description)
    if kind == 3:
        return style_only(style, rng)
    if kind == 4:
        return subject_only(subject, rng) if style == "photograph" else named(style, subject, rng)
    return _pick(rng, _MOVEMENT).format(subject=subject_phrase(subject, rng), movement=STYLE_WORDS[style].movement)


def every_phrase() -> Iterable[str]:
    """All words and phrases of the atelier, each at least once. The tokenizer is trained on them."""
    for templates in (_NAMED, _PHOTO, _DESCRIBED, _MIXED, _STYLE_ONLY, _SUBJECT_ONLY, _MOVEMENT):
        for template in templates:
            yield template.format(subject="", name="", description="", movement="")
    for style in STYLE_WORDS.values():
        yield from (style.full, style.short, *style.descriptions, *style.held_out, *style.works, style.movement)
    for subject in SUBJECT_WORDS.values():
        yield from (*subject.nouns, *subject.descriptions, *subject.held_out, subject.parent)
    yield "a photo, a drawing, an artwork, art, an image, a sketch, without, and, or, near, beside, two, many, not"
