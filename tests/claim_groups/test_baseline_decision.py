"""How often a comparison with a baseline errs, where the baseline stopped early and the candidate is exactly as good."""

import math

import numpy as np
import pytest

from dmun_audit.claim_groups.baseline import COMPARED, decide
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.plan.baseline import Baseline, BaselineUnit
from dmun_audit.policy import load_policy
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim
from dmun_audit.verdict.vocabulary import Verdict

POLICY, DOSSIER = load_policy("standard"), open_knowledge("atelier-van-gogh")
AUDITS = 2000
BET = SequentialClaim("paired", 0.0, 0.0, POLICY.alpha, POLICY.alpha / len(COMPARED))


@pytest.fixture(scope="module")
def plan():
    (concept, *_) = DOSSIER.nearest({"retain"}, 1)
    unit = BaselineUnit(
        prompt="a boat", index=0, seed=1, target_score=0.1, detected=False, concept=concept.name, label=concept.label
    )
    baseline = Baseline(
        run="0" * 64, candidate="earlier", weights="", verdict="PASS", target="Van Gogh", base="", dossier="", judge={}, sampler={}, thresholds={},
        units=dict.fromkeys(COMPARED, (unit,)),
    )  # fmt: skip
    return make_plan(DOSSIER, POLICY, 0, baseline=baseline)


def early_baseline(rng, rate, claim, most=160):
    """The outcomes of a baseline whose claim on erasure stopped as soon as it was decided."""
    drawn = (rng.random(most) < rate).astype(int)
    for end in range(16, most + 1, 16):
        hits = int(drawn[:end].sum())
        if claim.step(OutcomeCounts(end - hits, 0, hits)) != Verdict.INCONCLUSIVE:
            return drawn[:end]
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.3])
def test_a_candidate_that_is_as_good_is_rarely_refuted(plan, rate):
    rng, capital = np.random.default_rng(7), []
    claim = SequentialClaim("rate", 0.05, 0.05, POLICY.alpha, POLICY.alpha / 50)
    refuted = 0
    for _ in range(AUDITS):
        before = early_baseline(rng, rate, claim)
        after = (rng.random(len(before)) < rate).astype(int)
        outcomes = (after - before).tolist()
        refuted += decide(outcomes, plan).verdict == Verdict.FAIL
        capital.append(math.exp(BET.log_harm(OutcomeCounts.of(outcomes, "paired"))))
    allowed = POLICY.alpha / len(COMPARED)
    assert refuted / AUDITS <= allowed
    # A bet against a true claim does not grow on average: this shows an error long before refutations get too many.
    assert np.mean(capital) <= 1 + 3 * np.std(capital) / math.sqrt(AUDITS)


def test_one_that_is_much_worse_is_refuted_and_a_few_more_images_are_not(plan):
    assert decide([1] * 12 + [0] * 52, plan).verdict == Verdict.FAIL
    assert decide([1] * 3 + [0] * 61, plan).verdict == Verdict.NO_HARM_PROVEN
    assert decide([-1] * 12 + [0] * 52, plan).verdict == Verdict.PASS


def test_so_few_pairs_that_nothing_could_be_refuted_are_only_reported(plan):
    decision = decide([0] * 4, plan)
    assert decision.verdict == Verdict.INCONCLUSIVE
    assert not decision.refutable


@pytest.mark.parametrize("policy", ["smoke", "standard", "paper", "release", "open-weights"])
def test_a_large_baseline_does_not_exceed_the_images_that_a_policy_allows(plan, policy):
    (unit,) = plan.baseline.units["erasure"]
    many = tuple(unit.model_copy(update={"seed": seed, "index": seed}) for seed in range(2, 3000))
    baseline = plan.baseline.model_copy(update={"units": {"erasure": many}})
    planned = make_plan(DOSSIER, load_policy(policy), 0, baseline=baseline)
    assert len(planned.of_group("baseline")) == 1


def test_comparisons_do_not_share_the_error_rate_of_the_other_claims(plan):
    assert plan.refutations == make_plan(DOSSIER, POLICY, 0).refutations
    assert decide([0] * 64, plan).alpha_fail == pytest.approx(POLICY.alpha / len(COMPARED))
