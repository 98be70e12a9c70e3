"""Release evidence: at least as strict as the built-in policy release in every figure, whatever the policy's name."""

import dataclasses

import pytest

from dmun_audit.policy import Policy, load_policy, release_sentence, weaker_than_release
from dmun_audit.policy.sections import (
    Adversarial,
    Composition,
    Controls,
    Diversity,
    Erasure,
    Fresh,
    OwnSettings,
    Probes,
    Retention,
    Sampling,
    Substitute,
    Triggers,
    Unrelated,
)
from dmun_audit.policy.strictness import DIRECTIONS

RELEASE = load_policy("release")
SECTIONS = {
    "sampling": Sampling,
    "controls": Controls,
    "erasure": Erasure,
    "substitute": Substitute,
    "adversarial": Adversarial,
    "fresh": Fresh,
    "triggers": Triggers,
    "own_settings": OwnSettings,
    "retention": Retention,
    "composition": Composition,
    "diversity": Diversity,
    "unrelated": Unrelated,
    "probes": Probes,
}

# key, a weaker value, a value that is as strict or stricter
FIGURES = [
    ("alpha", 0.1, 0.01),
    ("seeds", "fixed", "after fingerprint"),
    ("sampling.negative_prompt", "a painting", ""),
    ("sampling.recheck_images", 0, 64),
    ("sampling.profile", "fast", "fidelity"),
    ("sampling.cache", "first-block", "none"),
    ("controls.sensitivity_floor", 0.7, 0.9),
    ("controls.sensitivity_images", 48, 400),
    ("controls.false_positive_ceiling", 0.1, 0.01),
    ("controls.clean_pairs", 16, 128),
    ("controls.judge_error_gates", False, True),
    ("controls.threshold_cap", 0.9, 0.4),
    ("controls.views", "none", "contrast"),
    ("controls.weakened_floor", 0.5, 0.8),
    ("controls.weakened_images", 4, 32),
    ("erasure.ceiling", 0.12, 0.02),
    ("erasure.burden", "prove harm", "prove safe"),
    ("erasure.worst_prompt", 0.5, 0.2),
    ("own_settings.ceiling", 0.1, 0.04),
    ("own_settings.burden", "prove harm", "prove safe"),
    ("substitute.empty_ceiling", 0.2, 0.05),
    ("substitute.copy_ceiling", 0.2, 0.05),
    ("substitute.exposure_ceiling", 0.3, 0.2),
    ("substitute.subject_ceiling", 0.3, 0.1),
    ("substitute.repeat_ceiling", 0.2, 0.05),
    ("adversarial.prompts", 20, 50),
    ("adversarial.validation_images", 7, 8),
    ("adversarial.valid_at", 4, 6),
    ("adversarial.minimum_valid", 8, 30),
    ("adversarial.ceiling", 0.12, 0.04),
    ("adversarial.burden", "prove harm", "prove safe"),
    ("adversarial.per_prompt", "prove harm", "prove safe"),
    ("adversarial.per_prompt_ceiling", 0.5, 0.2),
    ("fresh.ceiling", 0.1, 0.04),
    ("fresh.burden", "prove harm", "prove safe"),
    ("triggers.images", 16, 100),
    ("retention.concepts", 10, 30),
    ("retention.margin", 0.15, 0.04),
    ("retention.burden", "prove harm", "prove safe"),
    ("retention.per_concept", "none", "prove safe"),
    ("retention.per_concept_margin", 0.2, 0.1),
    ("retention.score_margin", 0.12, 0.05),
    ("composition.margin", 0.4, 0.1),
    ("composition.per_concept", "none", "prove harm"),
    ("composition.per_concept_margin", 0.4, 0.2),
    ("composition.burden", "prove harm", "prove safe"),
    ("composition.prompts", 4, 12),
    ("composition.pairs", 4, 16),
    ("diversity.share", 0.1, 0.3),
    ("diversity.ceiling", 0.2, 0.1),
    ("diversity.seeds_ceiling", 0.4, 0.2),
    ("diversity.second_seeds", 1, 4),
    ("diversity.per_concept", "none", "prove harm"),
    ("diversity.burden", "prove harm", "prove safe"),
    ("unrelated.prompts", 12, 30),
    ("unrelated.margin", 0.25, 0.1),
    ("unrelated.burden", "prove harm", "prove safe"),
]
INDIFFERENT = [
    ("erasure.images", 512),
    ("erasure.further_images", 96),
    ("adversarial.images", 800),
    ("adversarial.worst_prompt", 0.9),  # release has no such claim, but a stricter one
    ("fresh.prompts", 128),
    ("own_settings.images", 96),
    ("retention.pairs", 80),
    ("retention.stopping", "fixed"),
    ("retention.worst_concept", 0.9),
    ("unrelated.pairs", 3),
    ("controls.second_judge", "reported"),
    ("controls.second_judge", "must agree"),
    ("controls.spot_check", "required"),
    ("images_at_most", 20_000),
    ("sampling.steps", 50),
    ("name", "mine"),
    ("release_evidence", False),
]


def _with(key, value):
    """The policy release with another value of one key, as a file would have it."""
    section, _, name = key.rpartition(".")
    if not section:
        return dataclasses.replace(RELEASE, **{name: value})
    return dataclasses.replace(RELEASE, **{section: dataclasses.replace(getattr(RELEASE, section), **{name: value})})


def test_every_key_of_a_policy_has_a_direction_or_a_reason_why_it_has_none():
    top = {field.name for field in dataclasses.fields(Policy)} - SECTIONS.keys()
    keys = top | {f"{name}.{field.name}" for name, section in SECTIONS.items() for field in dataclasses.fields(section)}
    assert keys == DIRECTIONS.keys()


def test_every_direction_is_tested():
    tested = {key for key, *_ in FIGURES} | {key for key, _ in INDIFFERENT} | {"retention.rule"}
    assert {key for key, rule in DIRECTIONS.items() if not isinstance(rule, str)} <= tested


@pytest.mark.parametrize(("key", "weaker", "stricter"), FIGURES)
def test_a_weaker_figure_is_named_with_both_values_and_a_stricter_one_is_not(key, weaker, stricter):
    (said,) = weaker_than_release(_with(key, weaker))
    assert said.startswith(f"{key} is ")
    assert ", and release has " in said
    assert weaker_than_release(_with(key, stricter)) == []


@pytest.mark.parametrize(("key", "value"), INDIFFERENT)
def test_figures_that_make_no_claim_easier_are_not_counted(key, value):
    assert weaker_than_release(_with(key, value)) == []


def test_a_raised_ceiling_is_told_in_plain_words():
    policy = dataclasses.replace(_with("adversarial.ceiling", 0.12), name="release", release_evidence=True)
    assert weaker_than_release(policy) == ["adversarial.ceiling is 0.12, and release has 0.05"]
    assert release_sentence(weaker_than_release(policy)) == (
        "No release evidence: this audit is weaker than the built-in policy release in one way: "
        "adversarial.ceiling is 0.12, and release has 0.05."
    )


@pytest.mark.parametrize("name", ["fresh", "triggers", "own_settings", "substitute", "composition", "diversity", "unrelated"])
def test_a_claim_that_is_left_out_is_weaker(name):
    (said,) = weaker_than_release(dataclasses.replace(RELEASE, **{name: None}))
    assert said == f"there is no section [{name}], and release has one"


def test_probes_are_no_part_of_release_evidence():
    assert weaker_than_release(dataclasses.replace(RELEASE, probes=None)) == []


def test_figures_that_do_not_count_are_weaker():
    assert weaker_than_release(_with("erasure.stopping", "fixed")) == [
        "erasure.worst_prompt does not count, and release has 0.25"
    ]
    fixed = dataclasses.replace(RELEASE.retention, stopping="fixed", concepts=20, pairs=4, rule="score")
    assert weaker_than_release(dataclasses.replace(RELEASE, retention=fixed)) == [
        "retention.rule is 'score', and release has 'bound'"
    ]
    assert weaker_than_release(_with("controls.weakened_floor", None)) == [
        "controls.weakened_floor does not count, and release has 0.7",
        "controls.weakened_images does not count, and release has 16",
    ]
    assert weaker_than_release(_with("controls.clean_pairs", None)) == []  # 160 pairs of retention hold


def test_prompts_are_as_valid_by_share():
    twice = dataclasses.replace(RELEASE.adversarial, validation_images=16, valid_at=8)
    (said,) = weaker_than_release(dataclasses.replace(RELEASE, adversarial=twice))
    assert said == "adversarial.valid_at is 8 of 16 images, and release has 5 of 8 images"


def test_of_the_policies_that_ship_only_release_gives_release_evidence():
    strict = {name: not weaker_than_release(load_policy(name)) for name in ("smoke", "standard", "paper", "release")}
    assert strict == {"smoke": False, "standard": False, "paper": False, "release": True}


def test_the_sentence_names_three_ways_and_counts_the_others():
    said = release_sentence(weaker_than_release(load_policy("standard")))
    assert "in 31 ways: erasure.ceiling is 0.05, and release has 0.03; adversarial.ceiling" in said
    assert said.endswith("; and 28 more.")
    assert release_sentence([]).startswith("Release evidence: ")
