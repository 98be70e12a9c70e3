"""Fresh prompts: when the claim stops, what it says, and which candidates it refutes. On written outcomes.

On real images: `tests/end_to_end/test_rubbish.py`, with the same guard that an attack finds in `tests/discover`.
"""

from dataclasses import replace

import pytest
from written_observations import DOSSIER, WrittenAudit

from dmun_audit.claim_groups.fresh import FITTED, FORESEEABLE, NOT_FITTED
from dmun_audit.claim_groups.planning import image_budget, make_plan
from dmun_audit.decisions.conclude import pooled_records
from dmun_audit.policy import load_policy

STANDARD = load_policy("standard")


class FreshAudit(WrittenAudit):
    """The records of the fresh cases of an audit on written outcomes."""

    def records(self):
        records = {case.id: self.runner.record(case) for case in self.plan.of_group("fresh")}
        pooled = [record for record in pooled_records(self.plan, records) if record.group == "fresh"]
        return list(records.values()), pooled[0]


def fresh_texts(kind=None, count=128):
    plan = make_plan(DOSSIER, STANDARD, 0)
    cases = [case for case in plan.of_group("fresh") if kind in (None, case.kind)]
    return list(dict.fromkeys(request.prompt for case in cases for request in case.images))[:count]


def test_a_clean_candidate_passes_after_two_batches_of_pairs():
    audit = FreshAudit(STANDARD)
    singles, pooled = audit.records()
    assert [record.verdict for record in singles] == ["PASS", "PASS"]
    assert (pooled.verdict, pooled.claim.hits, pooled.claim.trials) == ("PASS", 0, 32)
    assert len(audit.observations.drawn) == 64
    assert FORESEEABLE in pooled.asked  # this plan has no fingerprint


def test_prompts_that_do_not_work_on_the_base_do_not_count():
    broken = fresh_texts("direct")
    singles, pooled = FreshAudit(STANDARD, invalid=broken).records()
    assert [record.verdict for record in singles] == ["VACUOUS", "PASS"]
    assert pooled.verdict == "PASS"
    assert 30 <= pooled.claim.trials < 45
    assert pooled.claim.trials == singles[1].claim.trials


@pytest.mark.parametrize("kind", ["direct", "indirect"])
def test_a_candidate_that_shows_the_target_for_one_kind_of_prompt_fails_and_the_prompts_are_named(kind):
    guilty = fresh_texts(kind)
    singles, pooled = FreshAudit(STANDARD, seen=dict.fromkeys(guilty, 9)).records()
    assert [record.verdict for record in singles] == (["FAIL", "PASS"] if kind == "direct" else ["PASS", "FAIL"])
    assert pooled.verdict == "FAIL"
    assert any(f"“{text}”" in pooled.seen for text in guilty)
    assert "more." in pooled.seen


def test_a_third_of_the_prompts_is_enough_to_fail_and_a_single_hit_is_not():
    texts = fresh_texts()
    assert FreshAudit(STANDARD, seen=dict.fromkeys(texts[::3], 9)).records()[1].verdict == "FAIL"
    _, pooled = FreshAudit(STANDARD, seen={texts[0]: 1}).records()
    assert (pooled.verdict, pooled.claim.hits) == ("PASS", 1)
    assert pooled.claim.trials == 64 > FreshAudit(STANDARD).records()[1].claim.trials


def test_the_rate_of_fresh_prompts_is_compared_with_the_dossiers():
    def compared(**outcomes):
        audit = FreshAudit(STANDARD, **outcomes)
        cases = [case for group in ("fresh", "erasure", "adversarial") for case in audit.plan.of_group(group)]
        records = {case.id: rates_alone(audit, case) for case in cases}
        return next(record for record in pooled_records(audit.plan, records) if record.group == "fresh")

    def rates_alone(audit, case):
        audit.runner.measures = NoMeasures()
        return audit.runner.record(case)

    class NoMeasures:
        def collapsed(self, images):
            return 0.0

    fitted = compared(seen=dict.fromkeys(fresh_texts(), 9))
    assert FITTED in fitted.seen
    assert fitted.measures["rate_dossier"] == 0
    assert fitted.measures["rate_fresh"] == 1
    assert fitted.measures["p_fitted"] < 1e-6
    assert NOT_FITTED in compared().seen


def test_prompts_depend_on_the_fingerprint_and_ids_do_not():
    one, other = (make_plan(DOSSIER, STANDARD, 0, fingerprint) for fingerprint in ("one", "other"))
    assert [case.id for case in one.of_group("fresh")] == [case.id for case in other.of_group("fresh")]
    prompts = [{request.prompt for case in plan.of_group("fresh") for request in case.images} for plan in (one, other)]
    assert len(prompts[0] & prompts[1]) < len(prompts[0]) / 2


def test_the_two_images_of_a_prompt_share_their_seed_and_a_repeated_prompt_gets_another_one():
    images = [request for case in make_plan(DOSSIER, STANDARD, 0).of_group("fresh") for request in case.images]
    base, candidate = (
        [(request.prompt, request.seed) for request in images if request.side == side] for side in ("base", "candidate")
    )
    assert base == candidate
    assert len(set(base)) == STANDARD.fresh.prompts


def test_without_its_section_a_policy_plans_no_fresh_prompts():
    plan = make_plan(DOSSIER, replace(STANDARD, fresh=None), 0)
    assert not plan.of_group("fresh")
    assert image_budget(make_plan(DOSSIER, STANDARD, 0)) - image_budget(plan) == 2 * STANDARD.fresh.prompts
