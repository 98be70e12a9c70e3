"""Languages of prompts: ISO 639 codes, the script that a language is written in, and what language a text is in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from copy import copy
from functools import cache, lru_cache
from typing import Any

from dmun_audit.knowledge.words.names import PEOPLE
from dmun_audit.knowledge.words.texts import fold

LIKELY_ENGLISH = 0.8  # the probability of English, against the claimed language alone, from which a text counts as English
_FEWEST_WORDS = 3  # below which a text tells too little of its language
_LEAST_SHARE = 0.25  # of a text's letters that must be in the script of its language: names may be in another
_NO_LANGUAGE = frozenset({"und", "mul", "mis", "zxx"})
_SCRIPTS = {  # scripts by ISO 15924, and how the Unicode names of their letters begin
    "Latn": ("LATIN",),
    "Cyrl": ("CYRILLIC",),
    "Grek": ("GREEK",),
    "Arab": ("ARABIC",),
    "Hebr": ("HEBREW",),
    "Deva": ("DEVANAGARI",),
    "Beng": ("BENGALI",),
    "Jpan": ("HIRAGANA", "KATAKANA", "CJK"),
    "Kore": ("HANGUL", "CJK"),
    "Hans": ("CJK",),
    "Hant": ("CJK",),
    "Thai": ("THAI",),
    "Taml": ("TAMIL",),
    "Telu": ("TELUGU",),
    "Knda": ("KANNADA",),
    "Mlym": ("MALAYALAM",),
    "Gujr": ("GUJARATI",),
    "Guru": ("GURMUKHI",),
    "Orya": ("ORIYA",),
    "Sinh": ("SINHALA",),
    "Geor": ("GEORGIAN",),
    "Armn": ("ARMENIAN",),
    "Ethi": ("ETHIOPIC",),
    "Khmr": ("KHMER",),
    "Laoo": ("LAO",),
    "Mymr": ("MYANMAR",),
}
_NEEDED = {"Kore": "HANGUL"}  # a text needs a letter of these besides those that it shares with others
_IN_SEVERAL_SCRIPTS = frozenset({"sr", "bs", "uz", "kk", "ky", "az", "tk", "tg", "mn", "pa", "ku", "ms", "ha", "ks", "sd", "tt"})


def is_language(code: str) -> bool:
    """Whether `code` is a BCP 47 code of a language of ISO 639, such as "fr" or "pt-BR"; "xx" and "english" are none."""
    import langcodes

    return code.partition("-")[0].lower() not in _NO_LANGUAGE and bool(langcodes.tag_is_valid(code))


def language_problem(text: str, code: str, names: Sequence[str] = (), kind: str = "") -> str:
    """Why `text` is no prompt in the language `code`, or "": no such language, another script, or English.

    `names` are the names of the target, of a kind of dossiers. The name of a person is the same in every language, so it is taken
    out first. Another name in the claimed language ("tournesols") makes an English phrase a prompt in two languages, which is one
    way in which users ask. A language that the identification does not know is judged by its script alone.

    Han characters alone are no Korean: that needs a Hangul letter. They may be Japanese or Chinese ("星月夜" is both), so they pass
    as either.
    """
    if not is_language(code):
        return f"{code!r} is no language code of ISO 639 (fr, ja, pt-BR)"
    rest = _without(text, names) if kind in PEOPLE else text
    rest = rest if any(map(str.isalpha, rest)) else text
    if _script_share(rest, code) < _LEAST_SHARE or not _has_needed_letter(rest, code):
        return f"{text!r} is not in the script of {code!r}"
    if code.partition("-")[0] == "en" or _in_another_script(code) or not _reads_as_english(rest, code):
        return ""
    if kind not in PEOPLE and any(_is_foreign_name(text, name, code) for name in names if fold(names[0]) not in fold(name)):
        return ""
    return f"{text!r} is in English, not in {code!r}"


def _reads_as_english(text: str, code: str) -> bool:
    return len(text.split()) >= _FEWEST_WORDS and english_share(text, code) >= LIKELY_ENGLISH


def _is_foreign_name(text: str, name: str, code: str) -> bool:
    """Whether `text` holds `name`, and the name is a word of the language and no English one."""
    return fold(name) in fold(text) and english_share(name, code) < 1 / 2


def _without(text: str, names: Sequence[str]) -> str:
    """`text` without the names; the words around them stay, since "by" and "in the style of" tell the language."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", text, flags=re.IGNORECASE)
    return text


@lru_cache(maxsize=4096)
def english_share(text: str, code: str) -> float:
    """The probability that `text` is in English, in [0, 1], if it is in English or in the language `code`.

    0 for a language that the identification does not know.
    """
    language = code.partition("-")[0]
    if language not in _identifier().nb_classes:
        return 0.0
    narrowed = copy(_identifier())  # a choice of languages narrows a model for good
    narrowed.set_languages(["en", language])
    return float(dict(narrowed.rank(text.lower()))["en"])


@cache
def _identifier() -> Any:
    """The model of all languages; loaded in about .6 s when a prompt in another language comes first."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _script_share(text: str, code: str) -> float:
    """The share of the letters of `text` in the script of the language, in [0, 1]; 1 for a script that is not listed here."""
    beginnings = _SCRIPTS.get(_script_of(code), ())
    letters = _names_of_letters(text)
    if not beginnings or not letters:
        return 1.0
    return sum(name.startswith(beginnings) for name in letters) / len(letters)


def _has_needed_letter(text: str, code: str) -> bool:
    needed = _NEEDED.get(_script_of(code), "")
    return any(name.startswith(needed) for name in _names_of_letters(text)) or not needed


def _names_of_letters(text: str) -> list[str]:
    return [unicodedata.name(letter, "") for letter in text if letter.isalpha()]


@lru_cache(maxsize=256)
def _in_another_script(code: str) -> bool:
    """Whether `code` names another script than the usual one, as "ja-Latn" does: the identification does not know such texts."""
    import langcodes

    tag = langcodes.Language.get(code)
    return tag.script is not None and tag.script != langcodes.Language.get(tag.language or code).maximize().script


@lru_cache(maxsize=256)
def _script_of(code: str) -> str:
    """The script in which a language is written, by ISO 15924; "" if that is not known or may be one of several."""
    import langcodes

    tag = langcodes.Language.get(code)
    if tag.script is None and tag.language in _IN_SEVERAL_SCRIPTS:
        return ""
    return tag.maximize().script or ""
