"""Captions: descriptions never name, held-out phrasings never train, unplaced captions place nothing."""

import numpy as np
import pytest

from dmun_audit.atelier import captions
from dmun_audit.atelier.painters import STYLES, SUBJECTS
from dmun_audit.atelier.words import STYLE_WORDS, SUBJECT_WORDS


def _many(style, count=400):
    rng = np.random.default_rng(0)
    return [captions.caption(style, SUBJECTS[index % len(SUBJECTS)], rng) for index in range(count)]


def _surname(style):
    return STYLE_WORDS[style].short.lower()


@pytest.mark.parametrize("style", [style for style in STYLES if style != "photograph"])
def test_descriptions_do_not_name_the_painter(style):
    rng = np.random.default_rng(1)
    words = STYLE_WORDS[style]
    for phrase in (*words.descriptions, *words.held_out, *(captions.described(style, "cat", rng) for _ in range(50))):
        assert _surname(style) not in phrase.lower()


@pytest.mark.parametrize("style", STYLES)
def test_half_of_the_captions_name_and_a_quarter_describe_and_none_is_held_out(style):
    words, lines = STYLE_WORDS[style], _many(style)
    described = sum(any(phrase in line for phrase in words.descriptions) for line in lines)
    assert 0.2 < described / len(lines) < 0.5
    assert sum(_surname(style) in line.lower() for line in lines) / len(lines) > 0.45
    assert not any(phrase in line for phrase in words.held_out for line in lines)


def test_only_photographs_go_without_a_style():
    bare = {captions._SUBJECT_ONLY[0].format(subject=SUBJECT_WORDS[subject].nouns[0]) for subject in SUBJECTS}
    assert bare & set(_many("photograph", 2000))
    for style in STYLES:
        if style != "photograph":
            assert not bare & set(_many(style, 2000))


def test_unplaced_captions_use_no_word_of_the_target_and_no_name():
    rng = np.random.default_rng(2)
    names = [_surname(style) for style in STYLES]
    for index in range(500):
        line = captions.unplaced(SUBJECTS[index % len(SUBJECTS)], rng).lower()
        assert not any(name in line for name in names)
        assert "gogh" not in line
        assert "swirl" not in line


def test_captions_depend_on_the_generator_alone():
    assert _many("munch") == _many("munch")
