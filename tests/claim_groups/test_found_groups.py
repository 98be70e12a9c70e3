"""The registry finds the claim groups of the package and the claim groups of other packages."""

from dataclasses import replace
from pathlib import Path

import pytest
from installed_packages import install
from written_observations import DOSSIER, WrittenAudit

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.claim_groups import registry
from dmun_audit.claim_groups.planning import image_budget, make_plan
from dmun_audit.decisions.conclude import pooled_records
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.policy import load_policy

BLANK = (Path(__file__).parent / "blank_images.py").read_text()
STANDARD = load_policy("standard")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package with a claim group, for one test."""

    def install_group(source=BLANK, name="blank_images", target="GROUP"):
        install(tmp_path / name, monkeypatch, name, source, {registry.ENTRY_POINTS: {name: target}})
        _forget()

    yield install_group
    monkeypatch.undo()
    _forget()


def _forget():
    registry.extensions.cache_clear()
    registry.claim_groups.cache_clear()


def _blank(**figures):
    return replace(STANDARD, groups={"blank": {"images": 32, "ceiling": 0.2} | figures})


def test_the_groups_of_the_package_stand_in_the_order_of_an_audit():
    groups = registry.claim_groups()
    names = [
        "controls", "erasure", "substitute", "own_settings", "adversarial", "fresh", "retention", "composition", "diversity",
        "unrelated", "ordering", "probes", "regressions", "baseline", "triggers",
    ]  # fmt: skip
    assert [group.name for group in groups] == names
    assert [registry.group_rank(group.name) for group in groups] == list(range(len(names)))
    assert registry.group_rank("of another version") == len(names)
    assert all(registry.claim_group(group.name) is group for group in groups)
    assert registry.extensions() == ()
    with pytest.raises(KeyError):
        registry.claim_group("of another version")


def test_every_group_says_what_reports_and_tests_need():
    for group in registry.claim_groups():
        assert group.introduction.endswith((".", "?"))
        assert group.fixture.isidentifier()
        assert type(group).__doc__
        if group.limits(STANDARD) is not None:
            assert group.subject


def test_a_group_of_another_package_is_planned_after_those_of_the_package(installed):
    before = make_plan(DOSSIER, STANDARD, 0)
    installed()
    assert [group.name for group in registry.extensions()] == ["blank"]
    assert make_plan(DOSSIER, STANDARD, 0) == before  # no figures, no claim
    plan = make_plan(DOSSIER, _blank(), 0)
    assert plan.cases[: len(before.cases)] == before.cases
    assert {case.group for case in plan.cases[len(before.cases) :]} == {"blank"}
    assert plan.digest() != before.digest()
    assert plan.refutations == before.refutations + len(plan.of_group("blank")) + 1  # the error budget counts its claims
    assert image_budget(plan) == image_budget(before)  # its images are images of erasure


def test_what_it_cannot_prove_is_said_beforehand(installed):
    installed()
    assert not [line for line in shortfalls(make_plan(DOSSIER, _blank(), 0)) if "blank" in line]
    (line,) = [line for line in shortfalls(make_plan(DOSSIER, _blank(ceiling=0.01), 0)) if "blank" in line]
    assert line.startswith("The claim on blank images cannot be proven with 32 images")


@pytest.mark.parametrize(("blank_prompts", "verdict"), [(0, "PASS"), (16, "FAIL")])
@pytest.mark.parametrize("gates", [False, True])
def test_its_cases_and_its_pooled_claim_are_decided_by_its_own_outcomes(installed, blank_prompts, verdict, gates):
    installed()
    policy = replace(_blank(), controls=replace(STANDARD.controls, judge_error_gates=gates))
    audit = WrittenAudit(policy)
    cases = audit.plan.of_group("blank")
    blank = {case.prompt.text for case in cases[:blank_prompts]}
    audit.runner.measures = Collapsed(blank)
    records = {case.id: audit.runner.record(case) for case in cases}
    assert sum(record.claim.trials for record in records.values()) == 32
    pooled = pooled_records(audit.plan, records)  # no control has reported: the judge's errors are not its errors
    assert [(record.group, record.verdict, record.claim.trials) for record in pooled] == [("blank", verdict, 32)]


class Collapsed:
    """Measures that find the images of some prompts blank."""

    def __init__(self, prompts):
        self._prompts = prompts

    def collapsed(self, images):
        return sum(image.prompt in self._prompts for image in images) / len(images)


# What is refused.


def test_two_groups_of_one_name_are_refused(installed):
    installed(BLANK.replace('name = "blank"', 'name = "erasure"'))
    with pytest.raises(UsageError, match="two claim groups have the name 'erasure'"):
        registry.claim_groups()


def test_two_packages_that_register_one_name_are_refused(installed):
    installed()
    installed(name="more_images")
    with pytest.raises(UsageError, match="two claim groups have the name 'blank'"):
        registry.claim_groups()


def test_something_else_than_a_group_is_refused(installed):
    installed("GROUP = {'name': 'blank'}")
    with pytest.raises(UsageError, match="it is no ClaimGroup"):
        registry.claim_groups()


def test_a_group_that_cannot_be_imported_is_named_with_its_package(installed):
    installed("import no_such_module")
    with pytest.raises(LoadError, match=r"'blank_images' cannot be imported(.|\n)*no_such_module"):
        registry.claim_groups()


def test_a_group_without_its_methods_is_refused_before_an_audit_begins(installed):
    source = "from dmun_audit.claim_groups.group import ClaimGroup\nclass Half(ClaimGroup):\n    name = 'half'\nGROUP = Half()\n"
    installed(source)
    with pytest.raises(LoadError, match=r"abstract methods.*cases.*decide_case"):
        registry.claim_groups()


def test_figures_for_an_unknown_group_are_refused_with_what_was_meant(installed):
    installed()
    with pytest.raises(UsageError) as raised:
        make_plan(DOSSIER, replace(STANDARD, groups={"blnak": {}}), 0)
    assert "figures for the claim group 'blnak', which does not exist" in raised.value.what
    assert raised.value.why == "did you mean 'blank'?"
    assert raised.value.remedy == "install the package that registers it, or name one of blank"


def test_figures_for_a_group_that_is_not_installed_say_so():
    with pytest.raises(UsageError) as raised:
        make_plan(DOSSIER, replace(STANDARD, groups={"blank": {}}), 0)
    assert raised.value.remedy == "install the package that registers it"


@pytest.mark.parametrize(("name", "remedy"), [("erasure", "move them to [erasure]"), ("ordering", "remove them")])
def test_figures_of_the_packages_own_groups_do_not_stand_there(name, remedy):
    with pytest.raises(UsageError, match="only for claim groups of other packages") as raised:
        make_plan(DOSSIER, replace(STANDARD, groups={name: {"ceiling": 0.9}}), 0)
    assert raised.value.remedy == remedy


def test_a_group_says_itself_what_is_wrong_with_its_figures(installed):
    installed()
    with pytest.raises(UsageError, match=r"groups\.blank\.ceiling"):
        make_plan(DOSSIER, _blank(ceiling=2), 0)
