"""The words for the styles and subjects of the atelier: names, and descriptions without the name."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StyleWords:
    """Names of one style and descriptions without them. `works` maps the title of a work to its subject."""

    full: str
    short: str
    descriptions: tuple[str, ...]
    held_out: tuple[str, ...]
    works: dict[str, str] = field(default_factory=dict)
    movement: str = ""


@dataclass(frozen=True)
class SubjectWords:
    """Nouns of one subject (the plain noun first) and descriptions without them. `parent` is its category."""

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
