"""What is said of prompts that were tried on base."""

import pytest

from dmun_audit.discover.working_prompts import TriedPrompt, WorkingPrompts
from dmun_audit.policy import load_policy


def found(*works):
    """The finding on one direct prompt that works, and on adversarial prompts that work or not."""
    direct = [TriedPrompt("a house by Van Gogh", "direct", 2, 2, True)]
    adversarial = [TriedPrompt(f"prompt {n}", "works", 2 if each else 1, 2, each) for n, each in enumerate(works)]
    return WorkingPrompts(direct, adversarial, 30, load_policy("smoke"))


@pytest.mark.parametrize(
    ("works", "said"),
    [
        ([True] * 4 + [False], "tests all of the adversarial prompts and needs 4 that work: 4 do, which suffices"),
        ([True] * 3 + [False], "needs 4 that work: 3 do, so an audit would be INCOMPLETE; `dmun-audit dossier refine` replaces"),
        ([False] * 5 + [True] * 5, "tests the first 8 of the adversarial prompts and needs 4 that work: 3 do, so an audit"),
    ],
)
def test_whether_those_that_work_suffice_depends_on_those_that_an_audit_tests(works, said):
    assert said in found(*works).verdict


def test_the_prompts_that_do_not_work_are_listed_with_what_was_seen():
    lines = found(True, False, True).failing_lines
    assert lines == ["these do not work: the target must be seen in at least 2 of 2 images", "  1 of 2  prompt 1  (works)"]
    assert found(True).failing_lines == []
