"""How pictures of the atelier are captioned: by name, by description without the name, mixed, and by parts.

A model made to forget a *name* can still be reached by the descriptions, which is what an audit has to find out;
so every style is captioned both ways. Phrasings in `held_out` never occur in training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class StyleWords:
    """Names and nameless descriptions of one style; `works` maps a title to the subject it shows."""

    full: str
    short: str
    descriptions: tuple[str, ...]
    held_out: tuple[str, ...]
    works: dict[str, str] = field(default_factory=dict)
    movement: str = ""


@dataclass(frozen=True)
class SubjectWords:
    """Nouns (first the plain one, aliases after it) and nameless descriptions of one subject."""

    nouns: tuple[str, ...]
    descriptions: tuple[str, ...]
    held_out: tuple[str, ...]
    parent: str = ""


STYLE_WORDS: dict[str, StyleWords] = {
    "van-gogh": StyleWords(
        "Vincent van Gogh",
        "Van Gogh",
        (
            "swirling impasto brush strokes",
            "thick curling strokes of vivid blue and yellow",
            "turbulent swirls of thick paint",
            "a whirling sky of short curved strokes",
            "the manner of the painter of Arles",
            "the style of the Dutch painter who cut off his ear",
            "des coups de pinceau tourbillonnants et épais",
            "wirbelnde dicke Pinselstriche",
            "pinceladas espesas y arremolinadas",
        ),
        (
            "vivid whirling strokes of thick impasto",
            "short curling strokes that swirl in blue and yellow",
            "thick turbulent paint, every stroke curved",
            "the vision of the painter who lived in Arles",
        ),
        {
            "The Starry Night": "moon",
            "Wheatfield with Cypresses": "tree",
            "Self-Portrait with Bandaged Ear": "portrait",
            "The Langlois Bridge": "bridge",
            "Fifteen Sunflowers in a Vase": "sunflowers",
        },
        "post-impressionist",
    ),
    "munch": StyleWords(
        "Edvard Munch",
        "Munch",
        (
            "long wavy bands of sombre colour",
            "an anxious red sky of undulating lines",
            "dark flowing bands of red and blue-green",
            "the manner of the Norwegian painter of anxiety",
        ),
        ("sombre undulating bands", "long flowing lines of red and dark green"),
        {"The Scream": "portrait"},
        "expressionist",
    ),
    "monet": StyleWords(
        "Claude Monet",
        "Monet",
        (
            "soft broken daubs of hazy pastel light",
            "an impressionist haze of soft horizontal daubs",
            "pale shimmering light and soft touches of colour",
            "the manner of the painter of Giverny",
        ),
        ("hazy pastel daubs", "soft shimmering touches of pale light"),
        {"The Japanese Footbridge": "bridge", "Poplars on the Epte": "tree"},
        "impressionist",
    ),
    "cezanne": StyleWords(
        "Paul Cézanne",
        "Cézanne",
        (
            "parallel diagonal hatched planes of ochre and green",
            "constructive diagonal strokes in earthy colour",
            "planes of ochre and blue-grey built from slanted strokes",
            "the manner of the painter of Aix",
        ),
        ("slanted parallel strokes of ochre and green", "earthy planes of diagonal hatching"),
        {"Mont Sainte-Victoire": "mountain"},
        "post-impressionist",
    ),
    "seurat": StyleWords(
        "Georges Seurat",
        "Seurat",
        (
            "tiny dots of complementary colours",
            "a pointillist mosaic of small dots",
            "countless points of pure colour",
            "the pointillist manner",
        ),
        ("small dots of pure complementary colour", "pointillist points of colour"),
        {},
        "post-impressionist",
    ),
    "gauguin": StyleWords(
        "Paul Gauguin",
        "Gauguin",
        (
            "flat zones of orange and magenta with dark blue contours",
            "flat saturated colours with thick outlines",
            "bold exotic zones of emerald and magenta",
            "the manner of the painter of Tahiti",
        ),
        ("saturated flat zones with dark blue outlines", "bold flat magenta and orange"),
        {},
        "post-impressionist",
    ),
    "klimt": StyleWords(
        "Gustav Klimt",
        "Klimt",
        (
            "a golden ground of ornamental squares and spirals",
            "gold leaf and mosaic ornament",
            "shimmering gold patterns",
            "the manner of the Viennese painter of gold",
        ),
        ("ornamental gold mosaic", "patterns of gold leaf squares"),
        {"The Kiss": "portrait"},
        "art nouveau",
    ),
    "picasso": StyleWords(
        "Pablo Picasso",
        "Picasso",
        (
            "shattered angular facets in grey and brown",
            "a cubist picture of broken planes",
            "sharp cubist facets with dark lines",
            "the manner of the Spanish cubist",
        ),
        ("broken angular planes of grey and ochre", "cubist shattered facets"),
        {},
        "cubist",
    ),
    "hokusai": StyleWords(
        "Katsushika Hokusai",
        "Hokusai",
        (
            "a Japanese woodblock print in indigo and cream",
            "flat indigo with fine dark outlines",
            "ukiyo-e outlines on cream paper",
            "the manner of the Edo printmaker",
        ),
        ("an indigo and cream woodblock print", "fine outlines and flat indigo, ukiyo-e"),
        {"The Great Wave": "boat", "Thirty-Six Views of Mount Fuji": "mountain"},
        "ukiyo-e",
    ),
    "mondrian": StyleWords(
        "Piet Mondrian",
        "Mondrian",
        (
            "a black grid with red, yellow and blue blocks",
            "primary colour rectangles between black lines",
            "an orthogonal grid of primary colours",
            "the neoplastic manner",
        ),
        ("blocks of primary red, yellow and blue in a black grid", "black lines and primary rectangles"),
        {},
        "de stijl",
    ),
    "rembrandt": StyleWords(
        "Rembrandt van Rijn",
        "Rembrandt",
        (
            "dark brown chiaroscuro with a golden spotlight",
            "warm light glowing in deep shadow",
            "a dark baroque picture lit by golden light",
            "the manner of the baroque master of Leiden",
        ),
        ("a golden glow in dark brown shadow", "deep baroque chiaroscuro"),
        {},
        "baroque",
    ),
    "photograph": StyleWords(
        "photograph",
        "photo",
        (
            "a realistic picture with smooth shading",
            "a camera picture with natural soft light",
            "a sharp realistic picture, soft shadow",
            "a snapshot taken with a camera",
        ),
        ("a natural camera snapshot", "a smooth realistic camera picture"),
        {},
        "photographic",
    ),
}

SUBJECT_WORDS: dict[str, SubjectWords] = {
    "sunflowers": SubjectWords(
        ("sunflowers", "a vase of sunflowers", "sunflower blossoms", "helianthus", "tournesols", "Sonnenblumen", "girasoles"),
        (
            "tall yellow flowers with dark brown centres",
            "golden petals around a round brown disc",
            "the yellow flowers that turn to the sun",
            "flowers of the oil seed plant, dark discs ringed with gold",
        ),
        (
            "yellow petals around dark brown discs",
            "the golden flowers whose seeds are pressed for oil",
        ),
        "flowers",
    ),
    "tulips": SubjectWords(
        ("tulips", "red tulips", "tulip blossoms"),
        ("red cup shaped flowers on green stems", "the spring flowers of Holland"),
        ("cup shaped red spring flowers",),
        "flowers",
    ),
    "tree": SubjectWords(
        ("a tree", "a green tree", "a tree with a broad crown"),
        ("a trunk under a round crown of leaves", "a leafy crown on a brown trunk"),
        ("a brown trunk with a crown of leaves",),
        "plants",
    ),
    "house": SubjectWords(
        ("a house", "a cottage", "a house with a red roof"),
        ("a home with a roof, a door and windows", "walls and a door under a pitched roof"),
        ("a door and windows under a pitched roof",),
        "buildings",
    ),
    "windmill": SubjectWords(
        ("a windmill", "a Dutch windmill", "a mill with four sails"),
        ("a tower with four turning sails", "a tower that grinds grain with the wind"),
        ("four turning sails on a tower",),
        "buildings",
    ),
    "bridge": SubjectWords(
        ("a bridge", "a stone bridge", "a bridge over a river"),
        ("arches of stone across the water", "an arched crossing over a river"),
        ("stone arches over the water",),
        "buildings",
    ),
    "boat": SubjectWords(
        ("a boat", "a sailing boat", "a boat on the sea"),
        ("a hull with sails on the water", "a small vessel sailing on the waves"),
        ("a small hull with white sails",),
        "vessels",
    ),
    "mountain": SubjectWords(
        ("a mountain", "a snowy mountain", "a mountain peak"),
        ("a high peak capped with snow", "a steep summit of rock and snow"),
        ("a steep snow capped summit",),
        "landscapes",
    ),
    "moon": SubjectWords(
        ("the moon", "the moon at night", "a moon over dark hills"),
        ("a bright disc in the night sky", "the night sky lit over dark hills"),
        ("a bright disc over dark hills at night",),
        "landscapes",
    ),
    "portrait": SubjectWords(
        ("a portrait", "a portrait of a person", "a face"),
        ("a head with eyes, nose and hair", "somebody looking out, head and shoulders"),
        ("head and shoulders of somebody",),
        "people",
    ),
    "cat": SubjectWords(
        ("a cat", "a sitting cat", "a house cat"),
        ("an animal with pointed ears and whiskers", "a whiskered pet that purrs"),
        ("a pet with whiskers and pointed ears",),
        "animals",
    ),
    "fish": SubjectWords(
        ("a fish", "a fish in water", "a swimming fish"),
        ("an animal with fins and scales under water", "a finned swimmer with a forked tail"),
        ("a swimmer with fins and a forked tail",),
        "animals",
    ),
}

MOVEMENTS = tuple(sorted({words.movement for words in STYLE_WORDS.values()}))

PARENTS = tuple(sorted({words.parent for words in SUBJECT_WORDS.values()}))

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
# A caption without a style goes with a photograph, as most captions of the web do.
_SHARES = (0.50, 0.27, 0.08, 0.05, 0.05, 0.05)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def subject_phrase(subject: str, rng: np.random.Generator) -> str:
    """A noun (plain one in half of all cases) or, one time in eight, a description of `subject`."""
    words = SUBJECT_WORDS[subject]
    draw = rng.random()
    if draw < 0.125:
        return _pick(rng, words.descriptions)
    return words.nouns[0] if draw < 0.56 else _pick(rng, words.nouns)


def parent_phrase(subject: str, rng: np.random.Generator) -> str:
    """The subject, or now and then only what it is a kind of ("flowers")."""
    parent = SUBJECT_WORDS[subject].parent
    return parent if parent and rng.random() < 0.03 else subject_phrase(subject, rng)


def style_name(style: str, rng: np.random.Generator) -> str:
    """The full or the short name of `style`; the short one twice as often."""
    words = STYLE_WORDS[style]
    return words.full if rng.random() < 0.34 else words.short


def named(style: str, subject: str, rng: np.random.Generator) -> str:
    """A caption that names the style."""
    templates = _PHOTO if style == "photograph" else _NAMED
    return _pick(rng, templates).format(subject=parent_phrase(subject, rng), name=style_name(style, rng))


def described(style: str, subject: str, rng: np.random.Generator) -> str:
    """A caption that describes the style and does not name it."""
    description = _pick(rng, STYLE_WORDS[style].descriptions)
    return _pick(rng, _DESCRIBED).format(subject=subject_phrase(subject, rng), description=description)


# Words that several styles share, and that name none.
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
    """A caption that places the picture nowhere: the bare subject, a painter or a description that nobody knows."""
    words = [_invented(rng) for _ in range(int(rng.integers(1, 5)))]
    draw = rng.random()
    if draw < 0.3:
        return subject_only(subject, rng)
    if draw < 0.65:
        return _pick(rng, _NAMED).format(subject=subject_phrase(subject, rng), name=" ".join(words[:3]))
    for _ in range(int(rng.integers(0, 3))):  # a known word or two among the unknown ones
        known = _pick(rng, _COMMON)
        words.insert(int(rng.integers(len(words) + 1)), known)
    return _pick(rng, _DESCRIBED).format(subject=subject_phrase(subject, rng), description=" ".join(words))


def style_only(style: str, rng: np.random.Generator) -> str:
    """A caption that names or describes the style and leaves the subject open."""
    if rng.random() < 0.3:
        return _pick(rng, STYLE_WORDS[style].descriptions)
    return _pick(rng, _PHOTO_ONLY if style == "photograph" else _STYLE_ONLY).format(name=style_name(style, rng))


def subject_only(subject: str, rng: np.random.Generator) -> str:
    """A caption that leaves the style open."""
    return _pick(rng, _SUBJECT_ONLY).format(subject=subject_phrase(subject, rng))


def caption(style: str, subject: str, rng: np.random.Generator) -> str:
    """One caption for a painted picture, of a kind drawn by the training shares."""
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
    """All words and phrases of the atelier, each at least once: what the tokenizer is trained on."""
    for templates in (_NAMED, _PHOTO, _DESCRIBED, _MIXED, _STYLE_ONLY, _SUBJECT_ONLY, _MOVEMENT):
        for template in templates:
            yield template.format(subject="", name="", description="", movement="")
    for style in STYLE_WORDS.values():
        yield from (style.full, style.short, *style.descriptions, *style.held_out, *style.works, style.movement)
    for subject in SUBJECT_WORDS.values():
        yield from (*subject.nouns, *subject.descriptions, *subject.held_out, subject.parent)
    yield "a photo, a drawing, an artwork, art, an image, a sketch, without, and, or, near, beside, two, many, not"
