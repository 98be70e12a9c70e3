"""What a policy file holds comes back as it was written, and each key has its place in the digest."""

import dataclasses
import tomllib
from datetime import date

from policy_files import OLD, OLD_DIGEST, WAIVER, edited, write

from dmun_audit._util.hashing import digest
from dmun_audit.policy import Sampling, Waiver, load_policy, policy_from_table
from dmun_audit.verdict.vocabulary import Burden, Stopping


def test_a_policy_may_hold_waivers_and_they_are_part_of_its_digest(tmp_path):
    policy = load_policy(str(write(tmp_path, OLD + WAIVER + WAIVER.replace("Seurat", "Braque") + 'target = "Van Gogh"\n')))
    assert policy.waivers == (
        Waiver("Georges Seurat", "dots", "Ana", date(2027, 1, 31)),
        Waiver("Georges Braque", "dots", "Ana", date(2027, 1, 31), "Van Gogh"),
    )
    assert policy_from_table(policy.as_dict(), tmp_path) == policy
    assert digest(policy.as_dict()) != OLD_DIGEST
    assert digest({key: value for key, value in policy.as_dict().items() if key != "waivers"}) == OLD_DIGEST


def test_sampling_says_in_words_what_is_left_to_the_model(tmp_path):
    text = 'steps = "model"\nscheduler = "flow-euler"\nsize = 768\nnegative_prompt = "blurry"\nrecheck_images = 16\nacceleration = "layout"'
    text += '\nprofile = "fast"\ncache = "first-block"'
    policy = load_policy(str(edited(tmp_path, "steps = 20", text)))
    assert policy.sampling == Sampling(
        "model", "model", 16, 1, "float32", "flow-euler", 768, "blurry", 16, "layout", "fast", "first-block"
    )
    assert policy.as_dict()["sampling"] == dataclasses.asdict(policy.sampling)
    assert policy_from_table(policy.as_dict(), tmp_path) == policy


def test_burdens_and_stopping_are_the_words_of_the_vocabulary():
    standard = load_policy("standard")
    assert standard.erasure.stopping is Stopping.EARLY
    assert standard.erasure.burden is Burden.PROVE_SAFE
    assert standard.adversarial.per_prompt is Burden.PROVE_HARM
    assert dataclasses.replace(standard.retention, stopping="fixed").stopping is Stopping.FIXED
    assert type(standard.as_dict()["erasure"]["stopping"]) is str


def test_whole_numbers_count_as_numbers(tmp_path):
    policy = load_policy(str(edited(tmp_path, 'guidance = "model"', "guidance = 7")))
    assert repr(policy.as_dict()["sampling"]["guidance"]) == "7.0"


def test_keys_with_a_default_change_no_digest_where_they_hold_it(tmp_path):
    written = 'steps = 20\nscheduler = "model"\nsize = "model"\nnegative_prompt = ""'
    values = load_policy(str(edited(tmp_path, "steps = 20", written))).as_dict()
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
