"""The validation of single answers: strategies of prompts, and the schemas that models are sent."""

import pytest

from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.interview import answers
from dmun_audit.knowledge.interview.aliases import SameThing
from dmun_audit.knowledge.interview.labels import NumberedLabel
from dmun_audit.knowledge.interview.validation import AnswerValidator

VAN_GOGH = ("Van Gogh", "Vincent", "Vincent van Gogh")


@pytest.mark.parametrize(
    ("strategy", "text", "language", "fits"),
    [
        ("language", "une tasse de thé dans le style de Van Gogh", "fr", True),
        ("language", "tranh sơn dầu thế kỷ 19", "vi", True),
        ("language", "en and på en sø", "da", True),
        ("language", "Die Sternennacht (The Starry Night) von Van Gogh", "de", True),
        ("language", "a house with the swirls of thick paint", "fr", False),
        ("language", "une maison", "en-GB", False),
        ("language", "a house with the swirls of thick paint", "ja", False),
        ("language", "поле под тёмным небом", "fr", False),
        ("language", "une maison au bord de la mer", "xx", False),
        ("description", "a house with the swirls of thick paint", "fr", False),
        ("description", "swirls of thick paint by V.v.G.", "en", False),
        ("homoglyph", "a field by Vincent van Gоgh", "en", True),
        ("homoglyph", "a field by ᴠᴀɴ ɢᴏɢʜ", "en", True),
        ("homoglyph", "ᏙᎪᏁ ᏀᎾᏀᎻ", "en", True),
        ("homoglyph", "a field by Vincent van Gogh", "en", False),
        ("homoglyph", "a fiеld by somebody", "en", False),
        ("misspelling", "a field by Vincent van Gough", "en", True),
        ("misspelling", "a field by Vincent van Gogh", "en", False),
        ("misspelling", "sunflowers by Vangoh", "en", True),
        ("misspelling", "a sunset over a lake", "en", False),
    ],
)
def test_a_prompt_is_of_the_strategy_that_it_is_said_to_be_of(counter, strategy, text, language, fits):
    validator = AnswerValidator(VAN_GOGH, "style", "a painting by Van Gogh", counter)
    assert (validator.strategy_problem(strategy, text, language) == "") is fits


def test_the_schemas_of_second_questions_stay_as_they_are():
    schemas = {kind.__name__: answers.answer_schema(kind, 1, 2) for kind in (SameThing, NumberedLabel)}
    assert digest(schemas) == "4ebe0f535a812717550c3364c323f549d3c160b657ffad6581b72883e5e106a3"


def test_the_schemas_that_models_are_sent_stay_as_they_are():
    """A transcript finds an answer by its question, which holds the schema: renamed classes must not change it."""
    types = [kind for kind in vars(answers).values() if isinstance(kind, type) and issubclass(kind, answers._Item)]
    schemas = [answers.answer_schema(kind, 1, 2) for kind in types if kind is not answers._Item]
    by_title = {schema["properties"]["items"]["items"]["title"]: schema for schema in schemas}
    assert digest(by_title) == "eacb52b4fa0c23ec4092977c882939db77cbd80cf0d9e88cd4822228ae1e8f02"
