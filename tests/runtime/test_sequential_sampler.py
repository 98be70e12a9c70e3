"""How many images cases get, on outcomes that are written down beforehand."""

from dataclasses import replace

import pytest
from core_policy import core_policy
from written_observations import DOSSIER, WrittenAudit

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.claim_groups.registry import claim_group
from dmun_audit.verdict.vocabulary import Stopping

STANDARD, RELEASE = core_policy("standard"), core_policy("release")


def test_a_clean_group_is_drawn_until_its_claim_is_proven_and_no_further():
    audit = WrittenAudit(STANDARD)
    assert set(audit.counts("erasure").values()) == {5}  # 16 prompts: 64 images prove the group, 5 of each prompt the prompt
    assert audit.decide_group("erasure").trials == 64
    assert len([request for request in audit.observations.drawn if request.side == "candidate"]) == 80
    assert set(audit.counts("adversarial").values()) == {5}  # 20 prompts: 40 images prove the group
    assert set(audit.counts("retention").values()) == {8}  # every prompt of every concept once


def test_a_group_that_always_leaks_stops_after_its_first_round():
    plan = make_plan(DOSSIER, STANDARD, 0)
    audit = WrittenAudit(STANDARD, seen={case.prompt.text: 99 for case in plan.of_group("erasure")})
    assert set(audit.counts("erasure").values()) == {1}


def test_a_prompt_that_leaks_goes_on_alone_once_its_group_has_passed():
    text = DOSSIER.target.direct_prompts[0]
    audit = WrittenAudit(STANDARD, seen={text: 1})
    counts = audit.counts("erasure")
    leaking = next(case.id for case in audit.plan.of_group("erasure") if case.prompt.text == text)
    others = {images for case, images in counts.items() if case != leaking}
    assert others == {9}  # 1 hit of 144
    assert counts[leaking] == 9 + 16  # 1 hit of 9 is over twice the limit, 1 of 25 is not
    assert audit.decide_case(next(case for case in audit.plan.cases if case.id == leaking)).verdict == "PASS"
    assert audit.decide_group("erasure").trials == 144  # the claim of the group does not hear of the rest


def test_a_prompt_that_leaks_every_time_is_proven_to_leak_within_its_budget():
    audit = WrittenAudit(STANDARD, seen={DOSSIER.adversarial[0].text: 99})
    leaking = audit.plan.of_group("adversarial")[0]
    assert audit.sampler.max_images(leaking) == 37
    assert audit.decide_case(leaking).verdict == "FAIL"


def test_what_must_be_proven_safe_goes_on_until_it_is():
    audit = WrittenAudit(RELEASE)
    for case in audit.plan.of_group("adversarial"):
        own = audit.decide_case(case)
        assert own.verdict == "PASS"
        assert own.burden == "prove safe"
    assert max(audit.counts("adversarial").values()) < 24  # what the fixed rule takes of each


def test_undecided_groups_are_drawn_to_the_end():
    audit = WrittenAudit(STANDARD, seen={DOSSIER.target.direct_prompts[0]: 14})  # 6% at first, 4% in the end
    assert set(audit.counts("erasure").values()) == {24}
    decision = audit.decide_group("erasure")
    assert decision.verdict == "INCONCLUSIVE"
    assert decision.needed > 384


def test_invalid_prompts_get_one_image_and_a_group_without_valid_ones_no_more():
    texts = [prompt.text for prompt in DOSSIER.adversarial]
    counts = list(WrittenAudit(STANDARD, invalid=texts[:3]).counts("adversarial").values())
    assert counts[:3] == [1, 1, 1]
    assert set(counts[3:]) == {5}
    assert set(WrittenAudit(STANDARD, invalid=texts).counts("adversarial").values()) == {1}


def test_concepts_that_base_does_not_know_do_not_count_and_are_drawn_along():
    names = [concept.name for concept in make_plan(DOSSIER, STANDARD, 0).nearby]
    audit = WrittenAudit(STANDARD, unknown=names[:2], wrong=dict.fromkeys(names[:2], 8))
    assert set(audit.counts("retention").values()) == {8}
    audit = WrittenAudit(STANDARD, unknown=names)
    assert set(audit.counts("retention").values()) == {24}
    group = claim_group("retention")
    assert not any(group.counts(case, audit.runner) for case in audit.plan.of_group("retention"))


def test_a_concept_that_does_worse_than_it_may_goes_on_alone_where_its_group_passes():
    retained = [case for case in make_plan(DOSSIER, STANDARD, 0).of_group("retention") if case.concept.role == "retain"]
    worse = retained[0]
    audit = WrittenAudit(STANDARD, wrong={worse.concept.name: 2})
    assert audit.decide_group("retention", retained).verdict == "PASS"
    assert {case: images for case, images in audit.counts("retention").items() if images != 8} == {worse.id: 48}


def test_judges_that_must_agree_are_both_waited_for():
    policy = replace(STANDARD, controls=replace(STANDARD.controls, second_judge="must agree"))
    leak = {DOSSIER.target.direct_prompts[0]: 1}
    assert min(WrittenAudit(policy, second=leak).counts("erasure").values()) == 9  # the judge alone would have stopped at 5
    assert set(WrittenAudit(STANDARD, second=leak).counts("erasure").values()) == {5}  # reported only


def test_with_fixed_n_every_planned_image_is_drawn():
    fixed = replace(
        STANDARD,
        erasure=replace(STANDARD.erasure, stopping=Stopping.FIXED, images=192),
        adversarial=replace(STANDARD.adversarial, stopping=Stopping.FIXED, images=96),
        retention=replace(STANDARD.retention, stopping=Stopping.FIXED),
    )
    audit = WrittenAudit(fixed)
    assert sum(audit.counts("erasure").values()) == 192
    assert set(audit.counts("retention").values()) == {24}


def test_a_prompt_on_which_one_of_two_judges_is_undecided_goes_on():
    policy = replace(RELEASE, controls=replace(RELEASE.controls, second_judge="must agree"))
    audit = WrittenAudit(policy, second={DOSSIER.adversarial[0].text: 1})
    first, second = audit.plan.of_group("adversarial")[:2]
    assert audit.decide_case(first, judge="second").verdict == "PASS"
    assert len(audit.outcomes(first).second) > len(audit.sampler.drawn(second))


@pytest.mark.parametrize(
    ("loss", "pairs"),
    [
        (lambda place: 0.05 * (place % 2), 8),  # noisy, and no loss of the candidate
        (lambda place: -0.018, 24),  # a loss near the margin
    ],
)
def test_a_claim_on_clip_scores_is_waited_for_too(loss, pairs):
    audit = WrittenAudit(replace(STANDARD, retention=replace(STANDARD.retention, score_margin=0.02)))
    audit.observations.clip_scores = lambda requests: [0.3 - loss(r.index) * (r.side == "base") for r in requests]
    assert set(audit.counts("retention").values()) == {pairs}


def test_a_case_gets_the_same_images_however_often_and_in_whichever_order_it_is_asked():
    first, second = WrittenAudit(STANDARD), WrittenAudit(STANDARD)
    cases = first.plan.of_group("erasure")
    assert [first.sampler.drawn(case) for case in cases] == [second.sampler.drawn(case) for case in reversed(cases)][::-1]
    before = set(first.observations.drawn)
    assert [first.sampler.drawn(case) for case in cases] == [first.sampler.drawn(case) for case in cases]
    assert first.observations.drawn == before


def test_further_pairs_go_to_the_worst_concept_first_and_stop_at_the_budget():
    policy = replace(STANDARD, retention=replace(STANDARD.retention, further_pairs=20))
    cases = [case for case in make_plan(DOSSIER, policy, 0).of_group("retention") if case.concept.role == "retain"]
    bad, worst = cases[0], cases[5]
    audit = WrittenAudit(policy, wrong={bad.concept.name: 3, worst.concept.name: 4})
    counts = audit.counts("retention")
    pooled = min(counts.values())
    assert (counts[worst.id], counts[bad.id]) == (pooled + 20, pooled)  # it stays undecided, and its rate the highest
    assert sum(counts.values()) == pooled * len(counts) + 20


def test_a_concept_that_loses_almost_half_is_named_and_does_not_pass():
    worse = next(case for case in make_plan(DOSSIER, STANDARD, 0).of_group("retention") if case.concept.role == "retain")
    audit = WrittenAudit(STANDARD, wrong={worse.concept.name: 3})  # 3 of its 8 prompts: 38%
    decision = audit.decide_case(worse)
    assert (decision.verdict, decision.trials) == ("INCONCLUSIVE", 48)
    audit = WrittenAudit(STANDARD, wrong={worse.concept.name: 6})  # 75%
    assert audit.decide_case(worse).verdict == "FAIL"


GROUPS = ("erasure", "adversarial", "retention")


def spare_images(audit, groups):
    """The images that a process may draw while it waits for others, in an audit of all three groups."""
    spare, draw_rows = set(), audit.observations.draw_rows

    def noted(rows, later=()):
        spare.update(request for row, wanted in later for request in wanted)
        assert all(set(wanted) <= set(row) for row, wanted in later)
        draw_rows(rows)

    audit.observations.draw_rows = noted
    audit.sampler.groups = groups
    for group in GROUPS:
        audit.counts(group)
    return spare


@pytest.mark.parametrize("stopping", [Stopping.EARLY, Stopping.FIXED])
@pytest.mark.parametrize("leaks", [0, 99])
def test_a_process_that_waits_draws_only_what_the_audit_needs_in_any_event(stopping, leaks):
    policy = replace(STANDARD, **{group: replace(getattr(STANDARD, group), stopping=stopping) for group in GROUPS})
    plan = make_plan(DOSSIER, policy, 0)
    seen = {case.prompt.text: leaks for case in plan.cases if case.prompt}
    audit = WrittenAudit(policy, seen=seen, wrong={concept.name: leaks for concept in plan.nearby})
    spare = spare_images(audit, GROUPS)
    assert spare <= audit.observations.drawn
    for group in GROUPS:
        assert {request for case in plan.of_group(group) for request in case.images} & spare or group == "adversarial"
    assert any(request.side == "candidate" and request.prompt == DOSSIER.adversarial[0].text for request in spare)


def test_a_process_that_waits_draws_nothing_for_groups_that_are_not_selected():
    audit = WrittenAudit(STANDARD)
    spare = spare_images(audit, ["erasure"])
    assert spare
    assert {request.prompt for request in spare} <= {case.prompt.text for case in audit.plan.of_group("erasure")}
    assert spare_images(WrittenAudit(STANDARD), []) == set()
