"""The policies that ship: their figures, their digests, and their files."""

import dataclasses
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dmun_audit._util.hashing import digest
from dmun_audit.policy import BUILT_IN, Sampling, alterations, built_in_names, load_policy, policy_from_table


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smoke", "11c66550f589e76fa17e6ad82850bb2db9b4d02f28cced5c210f9c128b00e5bd"),
        ("standard", "4e987eac7f945f5482a16cec70be0a3ec3673546800ad9b22b9d785cabf0188d"),
        ("release", "c56fa21569eea4e13eaa343b8107ad1e84b466ad45821e7c48748f4447bd1c96"),
    ],
)
def test_the_digest_of_a_built_in_policy_stays(name, expected):
    assert digest(load_policy(name).as_dict()) == expected


def test_the_digest_of_the_paper_policy_changed_only_by_the_cross_check():
    values = load_policy("paper").as_dict()
    assert values["retention"].pop("cross_check") == "torchmetrics"
    assert digest(values) == "7a08775af266952318ea1a74c69c06b24e7a54ab38d11f04e29e12d4d2bf28f9"


def test_the_paper_policy_makes_the_claims_of_standard_with_images_of_the_literature():
    paper, standard = load_policy("paper"), load_policy("standard")
    retention = dataclasses.replace(paper.retention, cross_check="none")
    assert dataclasses.replace(paper, name=standard.name, sampling=standard.sampling, retention=retention) == standard
    assert paper.sampling == Sampling(100, 7.5, 16, 1, "float32", scheduler="lms", size=512, negative_prompt="")


def test_the_standard_policy_shows_every_key_and_each_that_is_commented_out_is_valid():
    text = re.sub(r"(?m)^# (?=[a-z_]+ = |\[\[)", "", (BUILT_IN / "standard.toml").read_text())
    policy = policy_from_table(tomllib.loads(text), Path("standard.toml"))
    for section in (
        policy.sampling,
        policy.controls,
        policy.erasure,
        policy.substitute,
        policy.adversarial,
        policy.retention,
        policy.waivers[0],
    ):
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


@pytest.mark.parametrize(
    "code",
    [
        "from dmun_audit.policy import load_policy; load_policy('standard')",
        "from dmun_audit.policy import policy_json_schema; policy_json_schema()",
        "from dmun_audit.cli import main; main(['--help'])",
    ],
    ids=["a policy", "the schema", "the help"],
)
def test_these_need_neither_scipy_nor_torch(code):
    report = "import atexit, sys; atexit.register(lambda: print('heavy:', sorted({'scipy', 'torch'} & set(sys.modules)))); "
    finished = subprocess.run([sys.executable, "-c", report + code], capture_output=True, text=True, check=True)
    assert finished.stdout.endswith("heavy: []\n")
