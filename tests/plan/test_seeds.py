"""Seeds that nobody chose: what they follow from, and what changes none of them."""

from dataclasses import replace
from datetime import date
from itertools import permutations

import pytest

from dmun_audit.plan.seeds import (
    CHOSEN,
    DERIVED,
    FIXED,
    FORESEEN,
    drawn_seed,
    figures_digest,
    fingerprint_of,
    foreseen,
    seed_sentences,
)
from dmun_audit.policy import Waiver, load_policy

STANDARD = load_policy("standard")
WEIGHTS = ("a" * 64, "b" * 64, "c" * 64)
DOSSIER = "d" * 64


def test_candidates_that_share_a_seed_share_it_in_any_order():
    fingerprints = {fingerprint_of(order, STANDARD, DOSSIER) for order in permutations(WEIGHTS)}
    assert (
        fingerprints
        == {fingerprint_of({*WEIGHTS}, STANDARD, DOSSIER)}
        == {fingerprint_of([*WEIGHTS, WEIGHTS[0]], STANDARD, DOSSIER)}
    )


def test_everything_that_decides_the_audit_changes_the_fingerprint_and_the_seed():
    other = replace(STANDARD, erasure=replace(STANDARD.erasure, ceiling=0.06))
    fingerprints = [
        fingerprint_of(WEIGHTS, STANDARD, DOSSIER),
        fingerprint_of(WEIGHTS[:2], STANDARD, DOSSIER),
        fingerprint_of(WEIGHTS, other, DOSSIER),
        fingerprint_of(WEIGHTS, STANDARD, "e" * 64),
        fingerprint_of(WEIGHTS, STANDARD, DOSSIER, "beacon"),
    ]
    assert len(set(fingerprints)) == len({drawn_seed(each) for each in fingerprints}) == 5
    assert all(0 <= drawn_seed(each) < 2**31 for each in fingerprints)


@pytest.mark.parametrize(
    ("key", "values"), [("dtype", ("float32", "bfloat16")), ("acceleration", ("none", "layout")), ("batch", (8, 1, "auto"))]
)
def test_what_the_device_may_decide_is_no_figure(key, values):
    changed = (replace(STANDARD, sampling=replace(STANDARD.sampling, **{key: value})) for value in values)
    assert {figures_digest(each) for each in changed} == {figures_digest(STANDARD)}


def test_another_name_and_a_waiver_draw_no_other_seeds():
    waiver = Waiver("Edvard Munch", "retrained next month", "release team", date(2027, 1, 31))
    renamed = replace(STANDARD, name="mine", release_evidence=True, waivers=(waiver,))
    assert figures_digest(renamed) == figures_digest(STANDARD)
    assert renamed.as_dict() != STANDARD.as_dict()


def test_a_fingerprint_without_weights_is_known_beforehand():
    assert [foreseen(each) for each in ("", FORESEEN + "a" * 64, "a" * 64)] == [True, True, False]


@pytest.mark.parametrize(
    ("drawn", "words"), [(CHOSEN, "was chosen"), (FIXED, "fixed by the policy"), (DERIVED, "Nobody chose"), ("of old", "")]
)
def test_reports_say_how_the_seed_was_drawn(drawn, words):
    said = seed_sentences(7, drawn)
    assert [words in sentence and "seed 7" in sentence for sentence in said] == ([True] if words else [])
    assert "'beacon'" in seed_sentences(7, drawn, "beacon")[-1]
    prompts = [sentence for sentence in seed_sentences(7, drawn, "", "the weights") if "drawn from the weights" in sentence]
    assert len(prompts) == (drawn != DERIVED)
