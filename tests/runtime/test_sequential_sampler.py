"""How many images cases get, on outcomes that are written down beforehand: a observations of answers in place of one of images."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.claim_groups.rules import JudgeErrors, Rules
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.policy import load_policy
from dmun_audit.runtime.sequential_sampler import SequentialSampler

DOSSIER = find_pack("Van Gogh", "atelier")
STANDARD, RELEASE = load_policy("standard"), load_policy("release")


class Answers:
    """Knows in which candidate images the target is seen, and which the candidate draws wrong; remembers what was drawn.

    `seen` maps prompts to how many of their first images show the target, or to the images that do; "base" prompts always work.
    """

    def __init__(self, plan, seen=(), wrong=(), second=None, unknown=(), invalid=()):
        self.plan, self.rules, self.second = plan, Rules(plan), second
        self._seen, self._wrong, self._unknown, self._invalid = dict(seen), dict(wrong), set(unknown), set(invalid)
        self.drawn = set()
        self.engine = SimpleNamespace(ensure=lambda row, wanted=None: self.drawn.update(row if wanted is None else wanted))

    def detected(self, requests):
        assert set(requests) <= self.drawn, "looked at before it was drawn"
        return [int(self._shows(request, self._seen)) for request in requests]

    def detected_by_second(self, requests):
        return [int(self._shows(request, self.second)) for request in requests]

    def _shows(self, request, table):
        if request.side == "base":
            return request.prompt not in self._invalid
        return request.index % 1000 < table.get(request.prompt, 0)

    def labels(self, requests, concept):
        return ["other" if self._is_wrong(request, concept) else concept.label for request in requests]

    def _is_wrong(self, request, concept):
        if request.side == "base":
            return concept.name in self._unknown
        return concept.prompts.index(request.prompt) < self._wrong.get(concept.name, 0)

    def ensure_base_of_retention(self, wanted):
        self.drawn.update(wanted)

    def count(self, group, sequential_sampler):
        return {case.id: len(sequential_sampler.drawn(case)) for case in self.plan.of_group(group)}


def waves_of(policy=STANDARD, **answers):
    plan = make_plan(DOSSIER, policy, 0)
    observations = Answers(plan, **answers)
    return observations, SequentialSampler(observations, lambda judge: Rules(plan))


def test_a_clean_group_is_drawn_until_its_claim_is_proven_and_no_further():
    observations, sequential_sampler = waves_of()
    assert set(observations.count("erasure", sequential_sampler).values()) == {4}  # 16 prompts: 64 images, where 62 would do
    assert len([request for request in observations.drawn if request.side == "candidate"]) == 64
    assert set(observations.count("adversarial", sequential_sampler).values()) == {2}  # 20 prompts: 40, where 30 would do
    assert set(observations.count("retention", sequential_sampler).values()) == {8}  # every prompt of every concept once


def test_a_group_that_always_leaks_stops_after_its_first_round():
    plan = make_plan(DOSSIER, STANDARD, 0)
    observations, sequential_sampler = waves_of(seen={case.prompt.text: 99 for case in plan.of_group("erasure")})
    assert set(observations.count("erasure", sequential_sampler).values()) == {1}


def test_a_prompt_that_leaks_goes_on_alone_once_its_group_has_passed():
    text = DOSSIER.target.direct_prompts[0]
    observations, sequential_sampler = waves_of(seen={text: 1})
    count = observations.count("erasure", sequential_sampler)
    leaking = next(case.id for case in observations.plan.of_group("erasure") if case.prompt.text == text)
    others = {images for case, images in count.items() if case != leaking}
    assert others == {9}  # 1 hit of 144
    assert count[leaking] == 24 == observations.rules.rounds("erasure", 16)
    records = [
        sequential_sampler.outcomes(case, sequential_sampler.drawn(case)).first for case in observations.plan.of_group("erasure")
    ]
    assert observations.rules.together("erasure", records).trials == 144  # the claim of the group does not hear of the rest


def test_a_prompt_that_leaks_every_time_is_proven_to_leak_within_its_budget():
    text = DOSSIER.adversarial[0].text
    observations, sequential_sampler = waves_of(seen={text: 99})
    leaking = observations.plan.of_group("adversarial")[0]
    images = sequential_sampler.drawn(leaking)
    assert observations.rules.alone(leaking, sequential_sampler.outcomes(leaking, images).first, 7).verdict == "FAIL"


def test_what_must_be_proven_safe_goes_on_until_it_is():
    observations, sequential_sampler = waves_of(RELEASE)
    for case in observations.plan.of_group("adversarial"):
        own = observations.rules.alone(
            case, sequential_sampler.outcomes(case, sequential_sampler.drawn(case)).first, sequential_sampler.most(case)
        )
        assert own.verdict == "PASS"
        assert own.burden == "prove safety"
    assert max(observations.count("adversarial", sequential_sampler).values()) < 24  # what the fixed rule takes of each


def test_undecided_groups_are_drawn_to_the_end():
    observations, sequential_sampler = waves_of(seen={DOSSIER.target.direct_prompts[0]: 14})  # 6% at first, 4% in the end
    assert set(observations.count("erasure", sequential_sampler).values()) == {24}
    outcomes = [
        sequential_sampler.outcomes(case, sequential_sampler.drawn(case)).first for case in observations.plan.of_group("erasure")
    ]
    decision = observations.rules.together("erasure", outcomes)
    assert decision.verdict == "INCONCLUSIVE"
    assert decision.needed > 384


def test_invalid_prompts_get_one_image_and_a_group_without_valid_ones_no_more():
    texts = [prompt.text for prompt in DOSSIER.adversarial]
    observations, sequential_sampler = waves_of(invalid=texts[:3])
    count = list(observations.count("adversarial", sequential_sampler).values())
    assert count[:3] == [1, 1, 1]
    assert set(count[3:]) == {2}
    observations, sequential_sampler = waves_of(invalid=texts)
    assert set(observations.count("adversarial", sequential_sampler).values()) == {1}


def test_concepts_that_base_does_not_know_do_not_count_and_are_drawn_along():
    plan = make_plan(DOSSIER, STANDARD, 0)
    names = [concept.name for concept in plan.nearby]
    observations, sequential_sampler = waves_of(unknown=names[:2], wrong=dict.fromkeys(names[:2], 8))
    assert set(observations.count("retention", sequential_sampler).values()) == {8}
    observations, sequential_sampler = waves_of(unknown=names)
    assert set(observations.count("retention", sequential_sampler).values()) == {16}
    assert not any(sequential_sampler.is_known(case) for case in plan.of_group("retention"))


def test_a_concept_that_does_worse_than_it_may_goes_on_alone_where_its_group_passes():
    plan = make_plan(DOSSIER, STANDARD, 0)
    worse = next(case for case in plan.of_group("retention") if case.concept.role == "retain")
    observations, sequential_sampler = waves_of(wrong={worse.concept.name: 2})
    outcomes = {
        case.id: sequential_sampler.outcomes(case, sequential_sampler.drawn(case)).first for case in plan.of_group("retention")
    }
    counted = [outcomes[case.id] for case in plan.of_group("retention") if case.concept.role == "retain"]
    assert observations.rules.together("retention", counted).verdict == "PASS"
    assert {case: len(held) for case, held in outcomes.items() if len(held) != 8} == {worse.id: 16}


def test_judges_that_must_agree_are_both_waited_for():
    policy = replace(STANDARD, controls=replace(STANDARD.controls, second_judge="must agree"))
    observations, sequential_sampler = waves_of(policy, second={DOSSIER.target.direct_prompts[0]: 1})
    count = observations.count("erasure", sequential_sampler)
    assert min(count.values()) == 9  # the judge alone would have stopped at 4
    observations, sequential_sampler = waves_of(second={DOSSIER.target.direct_prompts[0]: 1})
    assert set(observations.count("erasure", sequential_sampler).values()) == {4}  # reported only


def test_with_fixed_n_every_planned_image_is_drawn():
    fixed = replace(
        STANDARD,
        erasure=replace(STANDARD.erasure, stopping="fixed", images=192),
        adversarial=replace(STANDARD.adversarial, stopping="fixed", images=96),
        retention=replace(STANDARD.retention, stopping="fixed"),
    )
    observations, sequential_sampler = waves_of(fixed)
    assert sum(observations.count("erasure", sequential_sampler).values()) == 192
    assert set(observations.count("retention", sequential_sampler).values()) == {16}


def test_a_prompt_on_which_one_of_two_judges_is_undecided_goes_on():
    policy = replace(RELEASE, controls=replace(RELEASE.controls, second_judge="must agree"))
    leaking = DOSSIER.adversarial[0].text
    observations, sequential_sampler = waves_of(policy, second={leaking: 1})
    case = observations.plan.of_group("adversarial")[0]
    seen = sequential_sampler.outcomes(case, sequential_sampler.drawn(case))
    assert observations.rules.alone(case, seen.second, sequential_sampler.most(case)).verdict == "PASS"
    assert len(seen.second) > len(sequential_sampler.drawn(observations.plan.of_group("adversarial")[1]))


def test_a_claim_on_clip_scores_is_waited_for_too():
    policy = replace(STANDARD, retention=replace(STANDARD.retention, score_margin=0.02))
    observations, sequential_sampler = waves_of(policy)
    observations.clip_scores = lambda requests: [
        0.3 - 0.05 * (r.side == "base") * (r.index % 2) for r in requests
    ]  # noisy, and no loss
    assert set(observations.count("retention", sequential_sampler).values()) == {8}
    observations, sequential_sampler = waves_of(policy)
    observations.clip_scores = lambda requests: [0.3 + 0.018 * (r.side == "base") for r in requests]  # a loss near the margin
    assert set(observations.count("retention", sequential_sampler).values()) == {16}


# The rules themselves.


@pytest.mark.parametrize("gates", [False, True])
def test_the_judges_errors_move_the_limits_where_they_gate(gates):
    policy = replace(STANDARD, controls=replace(STANDARD.controls, judge_error_gates=gates))
    rules = Rules(make_plan(DOSSIER, policy, 0), JudgeErrors(seen=44, shown=48, false_hits=1, clean=72))
    clean = [[0] * 4 for _ in range(16)]  # 64 images prove a judged rate of 5%, and not a true one
    decision = rules.together("erasure", clean)
    assert decision.verdict == ("INCONCLUSIVE" if gates else "PASS")
    assert decision.threshold == 0.05
    judged = Rules(rules.plan).together("erasure", clean)
    bounds = rules.true_rate(decision)
    assert judged.upper < bounds["true_rate_upper"]
    assert decision.upper == (bounds["true_rate_upper"] if gates else judged.upper)  # numbers and verdict speak of one rate
    assert (decision.alpha_pass, decision.alpha_fail) == (0.05, rules.plan.alpha_fail)
    longer = rules.together("erasure", [[0] * 8 for _ in range(16)])
    assert longer.verdict == "PASS"
    assert rules.true_rate(longer)["true_rate_upper"] <= 0.05 or not gates


def test_a_rate_that_the_judges_false_alarms_explain_refutes_nothing_where_they_gate():
    policy = replace(STANDARD, controls=replace(STANDARD.controls, judge_error_gates=True))
    plan = make_plan(DOSSIER, policy, 0)
    outcomes = [[int(place == prompt % 4) for place in range(4)] for prompt in range(16)]  # a quarter of the images
    assert Rules(plan).together("erasure", outcomes).verdict == "FAIL"
    noisy = JudgeErrors(seen=48, shown=48, false_hits=18, clean=72)
    assert Rules(plan, noisy).together("erasure", outcomes).verdict == "INCONCLUSIVE"


def test_looks_come_at_whole_cycles_of_every_prompt():
    rules = Rules(make_plan(DOSSIER, STANDARD, 0))
    assert rules.cycle("retention") == 8
    assert rules.schedule("retention", rules.rounds("retention", 10)) == [8, 16]
    assert rules.schedule("erasure", 24)[:3] == [1, 2, 3]
    assert rules.schedule("erasure", 24, upto=2) == [1, 2]
    later = Rules(make_plan(DOSSIER, replace(STANDARD, retention=replace(STANDARD.retention, first_look=9)), 0))
    assert later.schedule("retention", 16) == [16]


def test_more_pairs_than_whole_cycles_are_not_drawn():
    policy = replace(STANDARD, retention=replace(STANDARD.retention, pairs=20), images_at_most=1100)
    rules = Rules(make_plan(DOSSIER, policy, 0))
    assert rules.rounds("retention", 10) == 16
    assert rules.schedule("retention", 16) == [8, 16]
