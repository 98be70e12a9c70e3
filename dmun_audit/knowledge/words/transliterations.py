"""Names of Latin letters written by their sound in another alphabet: Cyrillic, Greek, Arabic, Hebrew, Devanagari, Bengali, Hangul.

A word in another script is romanised (anyascii). What is compared is its consonants by the place where they are spoken, since each
alphabet lacks some: Arabic has no p and v, Korean no f, and both leave out or change vowels. So "Ван Гог", "فان جوخ" and "반 고흐" all
have the sounds of "van Gogh". Words of Latin letters are never compared this way: English words cannot be hit by accident.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from rapidfuzz import fuzz

_FEWEST_SOUNDS = 4  # consonants from which equal sounds alone count as the name
_LEAST_LIKENESS = 60.0  # per cent of shared letters, needed beside equal sounds of fewer consonants
_CLOSE_LIKENESS = 80.0  # per cent of shared letters that count as the name beside three equal sounds or fewer
_MORE_WORDS = 1  # that a name may have in another script
_WITH_VOWELS = ("CYRILLIC", "GREEK", "HANGUL", "DEVANAGARI", "BENGALI")
_WITHOUT_VOWELS = ("ARABIC", "HEBREW")
_SPELT = (*_WITH_VOWELS, *_WITHOUT_VOWELS)
_GREEK = (("gk", "g"), ("mp", "b"), ("nt", "d"), ("oy", "u"))  # one sound each, of two letters
_NASALS = str.maketrans({"\u0902": "\u0928", "\u0982": "\u09a8"})  # the Indian dot for n and m
_REPEATED = re.compile(r"(.)(?=\1)")
_SOUNDS = (  # the letters of a romanised word that stand for one sound, and its class; the longest first
    *((letters, "S") for letters in ("shch", "tch", "sch", "sh", "ch", "zh", "ts", "tz", "dz")),
    *((letters, "G") for letters in ("kh", "gh", "ck")),
    *((letters, "P") for letters in ("ph", "bh")),
    *((letters, "T") for letters in ("th", "dh", "dt", "tt", "dd")),
    *((letter, "P") for letter in "bpfv"),
    *((letter, "G") for letter in "gkqc"),
    *((letter, "S") for letter in "szj"),
    *((letter, "T") for letter in "td"),
    *((letter, "L") for letter in "lr"),  # one letter in Korean
    *((letter, letter.upper()) for letter in "mn"),
    ("x", "GS"),
)
_SILENT = re.compile(r"(?:gh|[tsxdh])$")  # letters at the end of a name that other languages do not speak
_WORD = re.compile(r"(?:[^\W\d_]|[\u0900-\u0963\u0971-\u0dff])+")  # the signs of Indian scripts are no letters to Python


def find_transliterated(text: str, names: tuple[str, ...]) -> str | None:
    """The one of `names` (of Latin letters) that `text` holds as it sounds, in one of the alphabets above; None if none."""
    if text.isascii():
        return None
    known = [(name, len(name.split()), _sounds_of_name(name)) for name in names if name.isascii()]
    for run, written_with_vowels in _foreign_runs(text):
        for name, length, sounds in known:
            if run.count(" ") < length + _MORE_WORDS and _sounds_like(run, name, sounds, written_with_vowels):
                return name
    return None


def sounds_alike(foreign: str, name: str) -> bool:
    """Whether `foreign`, in another script, sounds like `name` or holds it as it sounds."""
    if find_transliterated(foreign, (name,)):
        return True
    return fuzz.ratio(_letters(romanised(foreign)), _letters(name)) >= _CLOSE_LIKENESS


@lru_cache(maxsize=4096)
def romanised(text: str) -> str:
    """`text` in small Latin letters, as it sounds or as its characters are called."""
    from anyascii import anyascii

    return str(anyascii(text)).lower()


def _sounds_like(run: str, name: str, sounds: frozenset[str], with_vowels: bool) -> bool:
    found = _sounds_of_run(run) & sounds
    fewest = min(map(len, found), default=0)
    likeness = fuzz.ratio(_letters(run), _letters(name))
    if with_vowels and fewest and likeness >= _CLOSE_LIKENESS and _letters(run)[:1] == _letters(name)[:1]:
        return len(_letters(name)) - len(_letters(run)) in (0, 1) or fewest >= _FEWEST_SOUNDS - 1
    if fewest >= _FEWEST_SOUNDS:
        return True
    return fewest == _FEWEST_SOUNDS - 1 and len(name.split()) > 1 and (not with_vowels or likeness >= _LEAST_LIKENESS)


def _foreign_runs(text: str) -> Iterator[tuple[str, bool]]:
    """Every run of up to six words of `text` in another alphabet, romanised, and whether that alphabet has letters for vowels."""
    words = [(match.group(), _script(match.group())) for match in _WORD.finditer(_composed(text))]
    for first in range(len(words)):
        run: list[str] = []
        for word, script in words[first : first + 6]:
            if not script:
                break
            run.append(_as_latin(word, script))
            yield " ".join(run), script in _WITH_VOWELS


def _composed(text: str) -> str:
    """`text` with the vowel signs of Indian scripts as letters of their words, and without points for vowels."""
    return "".join(
        "" if unicodedata.category(letter) in {"Mn", "Cf"} and not _is_indian(letter) else letter
        for letter in unicodedata.normalize("NFC", text)
    )


def _is_indian(letter: str) -> bool:
    return "\u0900" <= letter <= "\u0dff"


def _script(word: str) -> str:
    """The alphabet that all letters of `word` are in; "" for Latin letters and for other scripts."""
    names = [unicodedata.name(letter, "") for letter in word]
    return next((script for script in _SPELT if all(name.startswith(script) for name in names)), "")


@lru_cache(maxsize=4096)
def _as_latin(word: str, script: str) -> str:
    if script == "HEBREW":
        word = word[:1] + word[1:].replace("\u05d5", "")  # vav: inside a word it stands for o and u
    latin = "".join(filter(str.isalpha, romanised(word.translate(_NASALS))))
    for letters, sound in _GREEK if script == "GREEK" else ():
        latin = latin.replace(letters, sound)
    if script in _WITHOUT_VOWELS:
        latin = _REPEATED.sub(r"\1a", latin)  # two syllables, and no doubled letter
    return latin


@lru_cache(maxsize=4096)
def _sounds_of_run(run: str) -> frozenset[str]:
    readings = {run, run.replace("j", "g")}  # the Arabic letter is a g in Egypt
    return frozenset(_sounds(reading) for reading in readings)


@lru_cache(maxsize=1024)
def _sounds_of_name(name: str) -> frozenset[str]:
    lower = name.lower()
    return frozenset({_sounds(lower), _sounds(_SILENT.sub("", lower))})


def _sounds(latin: str) -> str:
    """The consonants of a romanised text by class. Vowels, and h, w and y inside a word, are left out."""
    result = ""
    for word in _WORD.findall(latin):
        place = 0
        while place < len(word):
            letters, sound = next((entry for entry in _SOUNDS if word.startswith(entry[0], place)), (word[place], ""))
            if not sound and place == 0:
                sound = {"h": "G", "w": "P"}.get(letters, "")
            doubled = place and len(letters) == 1 and word[place - 1] == letters
            result += "" if doubled else sound
            place += len(letters)
    return result


_ALIKE = (("ck", "k"), ("ph", "f"), ("oo", "u"), ("ou", "u"), ("ee", "i"), ("y", "i"), ("c", "k"), ("w", "v"))


@lru_cache(maxsize=4096)
def _letters(text: str) -> str:
    """The letters of a Latin text in one spelling of each sound, none doubled."""
    letters = "".join(filter(str.isalpha, text.lower()))
    for spelling, plain in _ALIKE:
        letters = letters.replace(spelling, plain)
    return re.sub(r"(.)\1+", r"\1", letters)
