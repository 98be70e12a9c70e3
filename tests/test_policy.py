"""Policies: the shipped figures, and errors that name the culprit."""

import dataclasses
import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.policy import BUILT_IN, Sampling, Waiver, alterations, built_in_names, load_policy, policy_from_table


def test_built_in_policies_carry_the_figures_that_the_documentation_gives():
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
        "standard": (0.70, 48, 0.05, 384, 20, 4, 3, 8, 0.10, 144, 10, 16, 0.15, 976),
        "paper": (0.70, 48, 0.05, 384, 20, 4, 3, 8, 0.10, 144, 10, 16, 0.15, 976),
        "release": (0.80, 200, 0.03, 1024, 40, 8, 5, 20, 0.05, 1600, 20, 160, 0.05, 9544),
    }
    stopping = {
        name: {p.erasure.stopping, p.adversarial.stopping, p.retention.stopping}
        for name in built_in_names()
        for p in [load_policy(name)]
    }
    assert stopping == {"smoke": {"fixed"}, "standard": {"early"}, "paper": {"early"}, "release": {"early"}}
    assert load_policy("release").adversarial.per_prompt_ceiling == 0.25
    assert load_policy("release").retention.per_concept_margin == 0.15


@pytest.mark.parametrize("name", ["smoke", "standard", "paper", "release"])
def test_the_budget_is_the_sum_of_its_parts(name):
    p = load_policy(name)
    parts = p.controls.sensitivity_images + p.erasure.images + p.adversarial.prompts * p.adversarial.validation_images
    assert parts + p.adversarial.images + 2 * p.retention.concepts * p.retention.pairs == p.images_at_most


OLD = """
name = "old"
release_evidence = true
alpha = 0.05
images_at_most = 736

[sampling]
steps = 20
guidance = "model"
batch = 16
threads = 1
dtype = "float32"

[controls]
sensitivity_floor = 0.70
sensitivity_images = 48
false_positive_ceiling = 0.10

[erasure]
ceiling = 0.05
images = 192

[adversarial]
prompts = 20
validation_images = 4
valid_at = 3
minimum_valid = 8
ceiling = 0.10
images = 96
per_prompt = "prove harm"

[retention]
concepts = 10
pairs = 16
margin = 0.15
per_concept = "prove harm"
"""
OLD_DIGEST = "47590cedc16cd393c8d8c81e89d3e4b869fc8cbf749873686ce077afc584f34c"  # as it was computed before any of the later keys was known


def _edited(tmp_path, old, new):
    path = tmp_path / "mine.toml"
    assert old in OLD
    path.write_text(OLD.replace(old, new, 1))
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
        ("margin = 0.15", 'margin = 0.15\nrule = "score"\nstopping = "early"', "exclude each other"),
        ("pairs = 16", 'pairs = 1001\nrule = "score"', "'score' cannot take 10,010 pairs"),
        ("ceiling = 0.05", "ceiling = 1e-9", "erasure.ceiling = 1e-09 is out of range"),
        ('per_prompt = "prove harm"', 'per_prompt = "maybe"', "'prove harm' | 'prove safe'"),
        ("[erasure]", "[erasure", "not valid TOML"),
        ("images = 192", 'images = 192\nstopping = "soon"', "erasure.stopping = 'soon' is not a valid value"),
        ("images = 96", 'images = 96\nburden = "none"', "expected: 'prove safe' | 'prove harm'"),
        ("pairs = 16", "pairs = 16\nfirst_look = 17", "retention.first_look = 17 can never be met"),
        ("pairs = 16", "pairs = 16\nfirst_look = 0", "retention.first_look = 0 is out of range"),
        ("pairs = 16", 'pairs = 16\nrule = "mcnemar"', "expected: 'bound' | 'score'"),
        ("pairs = 16", "pairs = 16\nscore_margin = 0.2", "retention.score_margin = 0.2 is out of range"),
        ("pairs = 16", "pairs = 16\nscore_margin = nan", "retention.score_margin = nan is out of range"),
        ("pairs = 16", 'pairs = 16\nperceptual = "ssim"', "expected: 'none' | 'lpips'"),
        ("sensitivity_images = 48", 'sensitivity_images = 48\nsecond_judge = "yes"', "'none' | 'reported' | 'must agree'"),
    ],
)
def test_a_faulty_policy_names_file_and_key(tmp_path, old, new, culprit):
    path = _edited(tmp_path, old, new)
    with pytest.raises(UsageError) as caught:
        load_policy(str(path))
    assert culprit in str(caught.value)
    assert str(path) in str(caught.value)


WAIVER = """
[[waivers]]
case = "Georges Seurat"
reason = "dots"
owner = "Ana"
expires = 2027-01-31
"""


def _with_waivers(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(OLD + text)
    return path


def test_a_policy_may_hold_waivers_and_they_are_part_of_its_digest(tmp_path):
    policy = load_policy(str(_with_waivers(tmp_path, WAIVER + WAIVER.replace("Seurat", "Braque") + 'target = "Van Gogh"\n')))
    assert policy.waivers == (
        Waiver("Georges Seurat", "dots", "Ana", date(2027, 1, 31)),
        Waiver("Georges Braque", "dots", "Ana", date(2027, 1, 31), "Van Gogh"),
    )
    assert policy_from_table(policy.as_dict(), tmp_path) == policy
    assert digest(policy.as_dict()) != OLD_DIGEST
    assert digest({key: value for key, value in policy.as_dict().items() if key != "waivers"}) == OLD_DIGEST


@pytest.mark.parametrize(
    ("old", "new", "culprit"),
    [
        ('reason = "dots"\n', "", "key 'waivers 1.reason' is missing"),
        ('owner = "Ana"', 'owner = " "', "waivers 1.owner is empty"),
        ('case = "Georges Seurat"', 'case = ""', "waivers 1.case is empty"),
        ('owner = "Ana"', 'owner = "Ana"\ntarget = ""', "waivers 1.target is empty"),
        ("expires = 2027-01-31", 'expires = "next year"', "expected: a day such as 2027-01-31"),
        ("expires = 2027-01-31", "expires = 2027-01-31T10:00:00Z", "expected: a day such as 2027-01-31"),
        ("expires = 2027-01-31", "expires = 2027-02-30", "not valid TOML"),
        ("expires = 2027-01-31", "", "key 'waivers 1.expires' is missing"),
        ("expires = 2027-01-31", "expires = 2027-01-31\nexpiry = 1", "did you mean 'expires'?"),
        ("[[waivers]]", "[waivers]", "expected: an array of tables"),
        ("expires = 2027-01-31\n", "expires = 2027-01-31\n" + WAIVER, "waivers 1 and 2 are of the same case, 'Georges Seurat'"),
    ],
)
def test_a_malformed_waiver_is_refused_with_its_place_and_key(tmp_path, old, new, culprit):
    assert old in WAIVER
    path = _with_waivers(tmp_path, WAIVER.replace(old, new, 1))
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
    assert digest(values) == OLD_DIGEST
    assert set(values["sampling"]) == {"steps", "guidance", "batch", "threads", "dtype"}


LATER = """
images_at_most = 736
waivers = []
[controls]
second_judge = "none"
[erasure]
stopping = "fixed"
burden = "prove safe"
[adversarial]
stopping = "fixed"
burden = "prove safe"
[retention]
stopping = "fixed"
burden = "prove safe"
first_look = 1
rule = "bound"
perceptual = "none"
"""
OTHERS = """
[controls]
second_judge = "must agree"
[erasure]
stopping = "early"
burden = "prove harm"
[adversarial]
stopping = "early"
burden = "prove harm"
[retention]
stopping = "early"
burden = "prove harm"
first_look = 4
rule = "score"
score_margin = 0.02
perceptual = "lpips"
"""


def _merged(text):
    """The figures of a policy written before there were such keys, with those of `text` laid over them."""
    table, more = tomllib.loads(OLD), tomllib.loads(text)
    return {key: table[key] | more.get(key, {}) if isinstance(table[key], dict) else table[key] for key in table} | {
        key: value for key, value in more.items() if key not in table
    }


def test_a_policy_of_before_keeps_its_digest_and_later_keys_at_their_defaults_change_nothing(tmp_path):
    old = policy_from_table(tomllib.loads(OLD), tmp_path)
    assert digest(old.as_dict()) == OLD_DIGEST
    assert policy_from_table(_merged(LATER), tmp_path) == old


def test_each_later_key_changes_the_digest_and_comes_back_from_it(tmp_path):
    old = policy_from_table(tomllib.loads(OLD), tmp_path).as_dict()
    for section, keys in tomllib.loads(OTHERS).items():
        for key, value in keys.items():
            table = tomllib.loads(OLD)
            table[section] |= {key: value}
            policy = policy_from_table(table, tmp_path)
            assert getattr(getattr(policy, section), key) == value
            assert digest(policy.as_dict()) != digest(old)
            assert policy_from_table(policy.as_dict(), tmp_path) == policy


def test_an_unknown_policy_lists_the_built_in_ones():
    with pytest.raises(UsageError, match=r"(?s)did you mean 'standard'.*smoke, standard, paper, release"):
        load_policy("standart")


def test_a_name_that_no_file_can_have_is_neither_policy_nor_dossier():
    for load in (load_policy, open_knowledge):
        for name in ("x" * 5000, "a\0b"):
            with pytest.raises(UsageError, match="neither"):
                load(name)


def test_the_standard_policy_shows_every_key_and_each_that_is_commented_out_is_valid():
    text = re.sub(r"(?m)^# (?=[a-z_]+ = |\[\[)", "", (BUILT_IN / "standard.toml").read_text())
    policy = policy_from_table(tomllib.loads(text), Path("standard.toml"))
    for section in (policy.sampling, policy.controls, policy.erasure, policy.adversarial, policy.retention, policy.waivers[0]):
        for field in dataclasses.fields(section):
            if field.name not in {
                "per_prompt_ceiling",
                "per_concept_margin",
            }:  # these belong to "prove safe": `release` shows them
                assert re.search(rf"(?m)^{field.name} = ", text), field.name


def test_a_policy_that_goes_by_a_shipped_name_says_what_it_changed():
    shipped = load_policy("standard")
    assert alterations(shipped) == []
    weaker = dataclasses.replace(shipped, erasure=dataclasses.replace(shipped.erasure, ceiling=0.9))
    assert alterations(weaker) == ["erasure.ceiling 0.05 → 0.9"]
    assert alterations(dataclasses.replace(weaker, name="ours")) == []
