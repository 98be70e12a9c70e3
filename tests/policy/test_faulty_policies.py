"""A faulty policy file gets one error that names the file, the key, the value and what is expected."""

import dataclasses

import pytest
from policy_files import OLD, WAIVER, edited, write

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.policy import load_policy


@pytest.mark.parametrize(
    ("old", "new", "culprit"),
    [
        ("ceiling = 0.05", "celing = 0.05", "did you mean 'ceiling'"),
        ("ceiling = 0.05", "ceiling = 5", "erasure.ceiling = 5 is out of range"),
        ("ceiling = 0.05", 'ceiling = "low"', "expected: a number"),
        ("pairs = 16", "pairs = 16.5", "retention.pairs = 16.5"),
        ("pairs = 16", "pairs = true", "retention.pairs = True"),
        ("images = 192", "images = 0", "erasure.images = 0"),
        ("alpha = 0.05", "", "'alpha' is missing"),
        ("alpha = 0.05", "alpha = 0.5", "alpha = 0.5 is out of range"),
        ("pairs = 16", "pairs = 1", "retention.pairs = 1 is out of range"),
        ('guidance = "model"', "guidance = nan", "sampling.guidance = nan"),
        ("steps = 20", "steps = 0", "sampling.steps = 0 is out of range"),
        ("steps = 20", 'steps = "many"', "expected: a whole number, at least 1 and at most 1,000, or 'model'"),
        ("steps = 20", "steps = 1_001", "sampling.steps = 1001 is out of range"),
        ("batch = 16", "batch = 1_025", "expected: a whole number, at least 1 and at most 1,024"),
        ("threads = 1", "threads = 1_000_000", "sampling.threads = 1000000 is out of range"),
        ("steps = 20", "steps = 20\nsize = 8_193", "sampling.size = 8193 is out of range"),
        ('guidance = "model"', "guidance = 1e9", "sampling.guidance = 1000000000.0 is out of range"),
        ("images = 192", "images = 1_000_000_000_000", "erasure.images = 1000000000000 is out of range"),
        ("images_at_most = 736", "images_at_most = 200_001", "images_at_most = 200001 is out of range"),
        ("pairs = 16", "pairs = 200_001", "retention.pairs = 200001 is out of range"),
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
        ('guidance = "model"', "guidance = -1", "sampling.guidance = -1 is out of range"),
        ("images = 96", "images = 12", "adversarial.images = 12 is too few"),
        ("prompts = 20", "prompts = 0", "adversarial.prompts = 0"),
        ("images = 192", "images = 150_000", "erasure.images alone needs 150,000 images"),
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
    path = edited(tmp_path, old, new)
    with pytest.raises(UsageError) as caught:
        load_policy(str(path))
    assert culprit in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "culprit"),
    [
        ('reason = "dots"\n', "", "key 'waivers 1.reason' is missing"),
        ('owner = "Ana"', 'owner = " "', "waivers 1.owner = ' ' is not a valid value"),
        ('case = "Georges Seurat"', 'case = ""', "waivers 1.case = '' is not a valid value"),
        ('owner = "Ana"', 'owner = "Ana"\ntarget = ""', "waivers 1.target = '' is not a valid value"),
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
    path = write(tmp_path, OLD + WAIVER.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_policy(str(path))
    assert culprit in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ceiling = 0.05", "ceiling = 0", "a number, at least 1e-06 and at most 0.999999"),
        ("alpha = 0.05", "alpha = 0.6", "a number, at least 1e-06 and under 0.5"),
        ("steps = 20", "steps = true", "a whole number, at least 1 and at most 1,000, or 'model'"),
        ("margin = 0.15", "margin = 0.15\nscore_margin = 0", "a number, above 0"),
        ("release_evidence = true", "release_evidence = 1", "true or false"),
        ("[erasure]", "[[erasure]]", "a table"),
        ('name = "old"', "name = 7", "a text"),
        ('name = "old"', 'name = "old"\nextends = 7', "a text that is not blank"),
    ],
)
def test_an_error_says_what_is_expected(tmp_path, old, new, expected):
    with pytest.raises(UsageError) as caught:
        load_policy(str(edited(tmp_path, old, new)))
    assert caught.value.remedy == f"expected: {expected}"


def test_a_file_too_large_for_a_policy_is_not_read(tmp_path):
    path = write(tmp_path, OLD + "# " + "x" * 1_000_000 + "\n")
    with pytest.raises(UsageError, match=r"policy file .* cannot be read(.|\n)*more than 1,000,000 bytes"):
        load_policy(str(path))


def test_policies_that_extend_each_other_without_end_are_refused(tmp_path):
    write(tmp_path, OLD, "p0.toml")
    for number in range(1, 30):
        path = write(tmp_path, f'extends = "p{number - 1}.toml"\n', f"p{number}.toml")
    with pytest.raises(UsageError, match=r"p29\.toml extends more than 16 policies"):
        load_policy(str(path))


def test_an_error_says_what_the_key_is_for(tmp_path):
    with pytest.raises(UsageError) as caught:
        load_policy(str(edited(tmp_path, "ceiling = 0.05", "ceiling = 5")))
    assert caught.value.why == "The target may appear in at most this share of the candidate's images."


def test_an_unknown_key_is_named_before_a_missing_key_of_an_earlier_section(tmp_path):
    text = OLD.replace("steps = 20\n", "").replace("margin = 0.15", "margn = 0.15")
    with pytest.raises(UsageError, match=r"unknown key 'retention\.margn'(.|\n)*did you mean 'margin'\?"):
        load_policy(str(write(tmp_path, text)))


def test_a_wrong_value_is_named_before_a_missing_key(tmp_path):
    text = OLD.replace("steps = 20\n", "").replace("margin = 0.15", "margin = 15")
    with pytest.raises(UsageError, match=r"retention\.margin = 15 is out of range"):
        load_policy(str(write(tmp_path, text)))


def test_a_python_program_cannot_make_a_policy_that_a_file_could_not_hold():
    standard = load_policy("standard")
    with pytest.raises(ValueError, match=r"(?s)ceiling.*less than or equal to 0\.999999"):
        dataclasses.replace(standard.erasure, ceiling=1.5)
    with pytest.raises(ValueError, match=r"valid_at = 5 can never be met\. each prompt is validated on 4 images"):
        dataclasses.replace(standard.adversarial, valid_at=5)


def test_an_unknown_policy_lists_the_built_in_ones():
    with pytest.raises(UsageError, match=r"(?s)did you mean 'standard'.*smoke, standard, paper, release"):
        load_policy("standart")


def test_a_name_that_no_file_can_have_is_neither_policy_nor_dossier():
    for load in (load_policy, open_knowledge):
        for name in ("x" * 5000, "a\0b"):
            with pytest.raises(UsageError, match="neither"):
                load(name)
