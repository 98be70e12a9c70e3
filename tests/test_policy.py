"""Policies: the shipped figures, and errors that name the culprit."""

import dataclasses

import pytest

from dmun_audit.errors import UsageError
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.policy import BUILT_IN, Sampling, built_in_names, load_policy, policy_from_table


def test_built_in_policies_carry_the_figures_of_the_design():
    figures = {
        name: (
            p.controls.sensitivity_floor,
            p.controls.sensitivity_images,
            p.erasure.ceiling,
            p.erasure.images,
            p.adversarial.prompts,
            p.adversarial.validation_images,
            p.adversarial.valid_at,
            p.adversarial.minimum_valid,
            p.adversarial.ceiling,
            p.adversarial.images,
            p.retention.concepts,
            p.retention.pairs,
            p.retention.margin,
            p.images_at_most,
        )
        for name in built_in_names()
        for p in [load_policy(name)]
    }
    assert figures == {
        "smoke": (0.50, 16, 0.20, 24, 8, 2, 2, 4, 0.25, 24, 8, 4, 0.25, 144),
        "standard": (0.70, 48, 0.05, 192, 20, 4, 3, 8, 0.10, 96, 10, 16, 0.15, 736),
        "paper": (0.70, 48, 0.05, 192, 20, 4, 3, 8, 0.10, 96, 10, 16, 0.15, 736),
        "release": (0.80, 200, 0.03, 528, 40, 8, 5, 20, 0.05, 960, 20, 160, 0.05, 8408),
    }
    assert load_policy("release").adversarial.per_prompt_ceiling == 0.25
    assert load_policy("release").retention.per_concept_margin == 0.15


@pytest.mark.parametrize("name", ["smoke", "standard", "paper", "release"])
def test_the_budget_is_the_sum_of_its_parts(name):
    p = load_policy(name)
    parts = p.controls.sensitivity_images + p.erasure.images + p.adversarial.prompts * p.adversarial.validation_images
    assert parts + p.adversarial.images + 2 * p.retention.concepts * p.retention.pairs == p.images_at_most


def _edited(tmp_path, old, new):
    path = tmp_path / "mine.toml"
    text = (BUILT_IN / "standard.toml").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "culprit"),
    [
        ("ceiling = 0.05", "celing = 0.05", "did you mean 'ceiling'"),
        ("ceiling = 0.05", "ceiling = 5", "erasure.ceiling = 5.0 is out of range"),
        ("ceiling = 0.05", 'ceiling = "low"', "expected: a number"),
        ("pairs = 16", "pairs = 16.5", "retention.pairs = 16.5"),
        ("pairs = 16", "pairs = true", "retention.pairs = True"),
        ("images = 192", "images = 0", "erasure.images = 0"),
        ("alpha = 0.05", "", "'alpha' is missing"),
        ("alpha = 0.05", "alpha = 0.5", "alpha = 0.5 is out of range"),
        ("pairs = 16", "pairs = 1", "retention.pairs = 1 is out of range"),
        ('guidance = "model"', "guidance = nan", "sampling.guidance = nan"),
        ("steps = 20", "steps = 0", "sampling.steps = 0 is out of range"),
        ("steps = 20", 'steps = "many"', "expected: a whole number or 'model'"),
        ("steps = 20", "steps = 2.5", "sampling.steps = 2.5 is not a valid value"),
        ("steps = 20", "steps = 20\nsize = 0", "sampling.size = 0 is out of range"),
        ("steps = 20", "steps = 20\nsize = true", "sampling.size = True is not a valid value"),
        (
            "steps = 20",
            'steps = 20\nscheduler = "dimm"',
            "'model' | 'ddim' | 'pndm' | 'lms' | 'euler' | 'dpmsolver++' | 'flow-euler'",
        ),
        ("steps = 20", "steps = 20\nnegative_prompt = 7", "expected: a text"),
        ("steps = 20", "steps = 20\nsampler = 7", "unknown key 'sampling.sampler'"),
        ('guidance = "model"', "guidance = -1", "sampling.guidance = -1.0"),
        ("images = 96", "images = 12", "adversarial.images = 12 is too few"),
        ("prompts = 20", "prompts = 0", "adversarial.prompts = 0"),
        ("images = 192", "images = 1_000_000_000_000", "erasure.images alone needs 1,000,000,000,000 images"),
        ("valid_at = 3", "valid_at = 5", "can never be met"),
        ("minimum_valid = 8", "minimum_valid = 21", "can never be met"),
        ('per_prompt = "prove harm"', 'per_prompt = "prove safe"', "per_prompt_ceiling is missing"),
        ('per_prompt = "prove harm"', 'per_prompt = "maybe"', "'prove harm' | 'prove safe'"),
        ("[erasure]", "[erasure", "not valid TOML"),
    ],
)
def test_a_faulty_policy_names_file_and_key(tmp_path, old, new, culprit):
    path = _edited(tmp_path, old, new)
    with pytest.raises(UsageError) as caught:
        load_policy(str(path))
    assert culprit in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_paper_policy_makes_the_claims_of_standard_with_images_of_the_literature():
    paper, standard = load_policy("paper"), load_policy("standard")
    assert dataclasses.replace(paper, name=standard.name, sampling=standard.sampling) == standard
    assert paper.sampling == Sampling(100, 7.5, 16, 1, "float32", scheduler="lms", size=512, negative_prompt="")


def test_sampling_says_in_words_what_is_left_to_the_model(tmp_path):
    text = 'steps = "model"\nscheduler = "flow-euler"\nsize = 768\nnegative_prompt = "blurry"'
    policy = load_policy(str(_edited(tmp_path, "steps = 20", text)))
    assert policy.sampling == Sampling("model", "model", 16, 1, "float32", "flow-euler", 768, "blurry")
    assert policy.as_dict()["sampling"] == dataclasses.asdict(policy.sampling)
    assert policy_from_table(policy.as_dict(), tmp_path) == policy


def test_keys_with_a_default_change_no_digest_where_they_hold_it(tmp_path):
    written = 'steps = 20\nscheduler = "model"\nsize = "model"\nnegative_prompt = ""'
    values = load_policy(str(_edited(tmp_path, "steps = 20", written))).as_dict()
    assert values == load_policy("standard").as_dict()
    assert set(values["sampling"]) == {"steps", "guidance", "batch", "threads", "dtype"}


def test_an_unknown_policy_lists_the_built_in_ones():
    with pytest.raises(UsageError, match=r"(?s)did you mean 'standard'.*smoke, standard, paper, release"):
        load_policy("standart")


def test_a_name_that_no_file_can_have_is_neither_policy_nor_dossier():
    for load in (load_policy, open_knowledge):
        for name in ("x" * 5000, "a\0b"):
            with pytest.raises(UsageError, match="neither"):
                load(name)
