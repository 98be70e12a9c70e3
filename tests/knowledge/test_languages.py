"""What language a prompt is in, and whether it is the one that it is said to be in."""

import pytest

from dmun_audit.knowledge.packs import open_knowledge, pack_names
from dmun_audit.knowledge.words.languages import english_share, is_language, language_problem

VAN_GOGH = ("Van Gogh", "Vincent van Gogh")


@pytest.mark.parametrize("code", ["fr", "en-US", "pt-BR", "zh-Hans", "sr-Latn", "yue", "tlh"])
def test_codes_of_languages(code):
    assert is_language(code)


@pytest.mark.parametrize("code", ["xx", "zz", "english", "jp", "und", "mul", "zxx", ""])
def test_codes_of_no_language(code):
    assert not is_language(code)
    assert "no language code of ISO 639" in language_problem("une maison", code)


@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        ("a painting of a house by the sea", "fr", "is in English"),
        ("a tree in the style of Van Gogh", "fr", "is in English"),
        ("A Tree In The Style Of Vincent Van Gogh", "de", "is in English"),
        ("a painting of a house by the sea", "ja", "is not in the script of 'ja'"),
        ("ie no kaiga", "ja", "is not in the script of 'ja'"),
        ("поле под тёмным небом", "fr", "is not in the script of 'fr'"),
        ("un champ de blé, Van Gogh", "ru", "is not in the script of 'ru'"),
        ("ein Feld unter dunklem Himmel", "hi", "is not in the script of 'hi'"),
        ("星月夜", "ko", "is not in the script of 'ko'"),
        ("梵高风格的星空", "ko-KR", "is not in the script of 'ko-KR'"),
        ("별이 빛나는 밤", "ja", "is not in the script of 'ja'"),
    ],
)
def test_a_prompt_in_another_language_is_refused(text, code, problem):
    assert problem in language_problem(text, code, VAN_GOGH, "style")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("une tasse de thé dans le style de Van Gogh", "fr"),
        ("Die Sternennacht (The Starry Night) von Van Gogh", "de"),
        ("ゴッホ風の星月夜", "ja"),
        ("Van Gogh の絵", "ja"),
        ("ie no kaiga", "ja-Latn"),
        ("星月夜", "ja"),  # Han characters alone may be either
        ("星月夜", "zh"),
        ("별이 빛나는 밤", "ko"),
        ("星月夜 같은 밤", "ko"),
        ("星月夜", "ko-Hani"),
        ("kuća na moru", "sr"),  # Serbian has two alphabets
        ("पेड़ और घर", "hi"),
        ("Van Gogh", "fr"),
        ("a zzz", "mnk"),  # a language that the identification does not know
    ],
)
def test_a_prompt_in_its_language_is_accepted(text, code):
    assert language_problem(text, code, VAN_GOGH, "style") == ""


def test_a_foreign_name_in_an_english_phrase_is_a_prompt_in_two_languages():
    names = ("sunflowers", "tournesols", "sunflower heads")
    assert language_problem("tournesols in the style of Rembrandt", "fr", names, "object") == ""
    assert "is in English" in language_problem("sunflower heads in the style of Rembrandt", "fr", names, "object")


def test_the_prompts_of_the_packs_are_in_their_languages():
    for pack in map(open_knowledge, pack_names()):
        for prompt in pack.adversarial:
            if prompt.language != "en":
                assert language_problem(prompt.text, prompt.language, pack.names, pack.target.kind) == ""


def test_nearly_all_english_prompts_of_the_packs_are_refused_as_german_and_french():
    """Measured: 1.5 % pass, nearly all for the foreign names of people in them."""
    texts = [
        text
        for pack in map(open_knowledge, pack_names())
        for text in [text for text, _ in pack.prompts_with_owners()][::4]
        if len(text.split()) > 3 and text not in {prompt.text for prompt in pack.adversarial if prompt.language != "en"}
    ]
    passed = sum(language_problem(text, code) == "" for text in texts for code in ("de", "fr"))
    assert passed / (2 * len(texts)) < 0.03


def test_a_choice_of_languages_does_not_narrow_the_next_one():
    first = english_share("une maison au bord de la mer", "fr")
    assert english_share("ein altes Haus an der See", "de") < 0.1
    english_share.cache_clear()
    assert english_share("une maison au bord de la mer", "fr") == first < 0.1
