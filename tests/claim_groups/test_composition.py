"""The claim on subjects: swapped subjects are found, and what the judge cannot see proves nothing."""

from dataclasses import replace

import pytest
from waived_plans import DAY, waiver_of
from written_observations import DOSSIER, WrittenAudit

from dmun_audit.claim_groups.composition import NO_COMPOSITIONS
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.knowledge.dossier import CompositionPrompt
from dmun_audit.plan.waivers import check_waivers, waivers_in_force
from dmun_audit.policy import load_policy

STANDARD = load_policy("standard")
POOLED = "Over all retained concepts together, the subjects are kept"
SUBJECTS = ("sunflowers", "house", "boat", "portrait", "tulips", "windmill", "mountain", "cat", "tree", "bridge", "moon", "fish")
SKILLS = (
    [(f"a red thing{n} and a blue box{n}", "attribute binding") for n in range(3)]
    + [(f"a ball{n} left of a cube{n}", "spatial relation") for n in range(3)]
    + [(f"three birds over hill{n}", "counting") for n in range(3)]
)
COMPOSING = DOSSIER.model_copy(
    update={"compositions": tuple(CompositionPrompt(text=text, skill=skill) for text, skill in SKILLS)}
)


def swapped(request, only=""):
    """What a candidate shows that draws the next subject in the right style."""
    if request.side == "base" or only not in request.prompt:
        return request.prompt
    for place, subject in enumerate(SUBJECTS):
        if subject in request.prompt.split():
            return request.prompt.replace(subject, SUBJECTS[(place + 1) % len(SUBJECTS)])
    return request.prompt


def test_a_candidate_that_keeps_the_subjects_passes():
    records = WrittenAudit(STANDARD).records("composition")
    assert {record.verdict for record in records.values()} == {"PASS"}
    assert records[POOLED].claim.hits == 0
    assert records[POOLED].claim.trials == 72
    assert all(not record.images for record in records.values())


def test_swapped_subjects_fail_together_and_alone():
    records = WrittenAudit(STANDARD, shows=swapped).records("composition")
    assert {record.verdict for record in records.values()} == {"FAIL"}
    assert "72 of 72 pairs" in records[POOLED].seen
    gauguin = records["Paul Gauguin keeps its subjects"]
    assert "“a house by Gauguin” shows boat" in gauguin.seen
    assert gauguin.measures == {"subject_accuracy_base": 1.0, "subject_accuracy_candidate": 0.0}
    assert {image.label for image in gauguin.images if image.against} == {
        image.label for image in gauguin.images if image.against
    }
    assert sum(bool(image.against) for image in gauguin.images) == 8


def test_one_concept_with_swapped_subjects_is_named_and_fails_alone():
    records = WrittenAudit(STANDARD, shows=lambda request: swapped(request, only="Hokusai")).records("composition")
    assert {title for title, record in records.items() if record.verdict == "FAIL"} == {"Katsushika Hokusai keeps its subjects"}
    assert "Katsushika Hokusai (8)" in records[POOLED].seen


def test_most_subjects_of_a_concept_lost_is_never_a_pass():
    lost = {"a house by Gauguin", "a painting of tulips by Paul Gauguin"}
    records = WrittenAudit(STANDARD, shows=lambda r: r.prompt if r.prompt in lost else swapped(r, only="Gauguin"))
    record = records.records("composition")["Paul Gauguin keeps its subjects"]
    assert record.verdict == "INCONCLUSIVE"
    assert record.gating
    assert record.claim.hits == 6


def test_subjects_that_the_judge_does_not_see_in_the_base_do_not_count():
    records = WrittenAudit(STANDARD, shows=lambda request: "a cat").records("composition")
    assert {record.verdict for record in records.values()} == {"VACUOUS"}
    assert "a comparison needs two" in records["Paul Gauguin keeps its subjects"].seen


def test_a_policy_without_the_section_has_no_such_case():
    assert not make_plan(DOSSIER, replace(STANDARD, composition=None), 0).of_group("composition")


def test_the_audit_says_that_a_dossier_without_composition_prompts_leaves_them_out():
    assert NO_COMPOSITIONS in shortfalls(make_plan(DOSSIER, STANDARD, 0))
    assert NO_COMPOSITIONS not in shortfalls(make_plan(COMPOSING, STANDARD, 0))
    assert NO_COMPOSITIONS not in shortfalls(make_plan(DOSSIER, replace(STANDARD, composition=None), 0))


def skill_records(**outcomes):
    records = WrittenAudit(STANDARD, dossier=COMPOSING, **outcomes).records("composition")
    return {
        title.removeprefix("Over all prompts of ").split(",")[0]: each for title, each in records.items() if "prompts of" in title
    }


def test_composition_prompts_are_compared_by_clip():
    records = skill_records()
    assert {skill: record.verdict for skill, record in records.items()} == dict.fromkeys(
        ("attribute binding", "spatial relation", "counting"), "PASS"
    )
    worse = {"three birds over hill0": "three birds over hill1", "three birds over hill1": "three birds over hill2"}
    worse |= {"three birds over hill2": "three birds over hill0"}
    records = skill_records(shows=lambda r: worse.get(r.prompt, r.prompt) if r.side == "candidate" else r.prompt)
    assert records["counting"].verdict == "FAIL"
    assert "12 of these" not in records["attribute binding"].seen
    assert "lost 12 of these" in records["counting"].seen


@pytest.mark.parametrize(("bound", "verdict"), [(True, "PASS"), (False, "FAIL")])
def test_the_judge_that_the_user_names_decides_instead(bound, verdict):
    records = skill_records(prompt_judge=lambda request: request.side == "base" or bound or "red" not in request.prompt)
    assert records["attribute binding"].verdict == verdict
    assert records["counting"].verdict == "PASS"
    single = WrittenAudit(STANDARD, dossier=COMPOSING, prompt_judge=lambda request: True).records("composition")
    assert any("vlm:written" in record.seen for record in single.values())


def test_a_skill_that_the_base_lacks_is_vacuous():
    records = skill_records(prompt_judge=lambda request: "birds" not in request.prompt)
    assert records["counting"].verdict == "VACUOUS"


def test_fewer_prompts_are_of_every_skill():
    policy = replace(STANDARD, composition=replace(STANDARD.composition, prompts=3))
    plan = make_plan(COMPOSING, policy, 0)
    assert [case.prompt.strategy for case in plan.of_group("composition") if case.prompt] == [
        "attribute binding",
        "spatial relation",
        "counting",
    ]


def test_a_waiver_of_a_concept_means_the_case_that_draws_it():
    waiver = waiver_of("Edvard Munch")
    plan = make_plan(DOSSIER, replace(STANDARD, waivers=(waiver,)), 0)
    check_waivers([plan], DAY)
    (waived,) = waivers_in_force(plan, DAY)
    assert waived in {case.id for case in plan.of_group("retention")}
