"""The claim on plain prompts: black, fixed, noisy and other images are found."""

from dataclasses import replace

import numpy as np
import pytest
from written_observations import DOSSIER, WrittenAudit, fields

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.planning import image_budget, make_plan
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import requests_of, resolve
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.knowledge.plain_prompts import far_prompts
from dmun_audit.policy import load_policy

STANDARD = load_policy("standard")
POOLED = "Over all plain prompts together, the candidate draws what they ask for"
DISTANCES = "How much the images of plain prompts changed"
PLAIN = set(far_prompts(DOSSIER, 24))
OWN = [f"a red bus number {number}" for number in range(24)]


def of_candidate(request):
    return request.side == "candidate" and request.prompt in PLAIN


def test_a_candidate_that_draws_them_passes_after_one_pair_of_each():
    audit = WrittenAudit(STANDARD)
    records = audit.records("unrelated")
    assert records[POOLED].verdict == "PASS"
    assert records[POOLED].claim.trials == 24
    assert records[DISTANCES].measures["fid"] == pytest.approx(0, abs=1e-9)
    assert records[DISTANCES].measures["pairs"] == records[DISTANCES].claim.trials > 0  # a metric sees the pairs of all prompts
    assert not records[DISTANCES].gating
    assert sum(request.prompt in PLAIN for request in audit.observations.drawn) == 48


BLACK = {"pixels": lambda r: np.zeros((32, 32, 3), np.uint8) if of_candidate(r) else fields(f"{r.prompt} {r.index}")}
NOISE = {
    "pixels": lambda r: (
        np.random.default_rng(r.seed % 2**32).integers(0, 256, (32, 32, 3), np.uint8)
        if of_candidate(r)
        else fields(f"{r.prompt} {r.index}")
    )
}
FIXED = {"shows": lambda r: "a house" if of_candidate(r) else r.prompt}
OTHER = {"shows": lambda r: "a car" if of_candidate(r) else r.prompt}


@pytest.mark.parametrize("outcomes", [BLACK, NOISE, FIXED, OTHER], ids=["black", "noise", "fixed", "other"])
def test_rubbish_for_plain_prompts_fails(outcomes):
    records = WrittenAudit(STANDARD, **outcomes).records("unrelated")
    assert records[POOLED].verdict == "FAIL"
    assert "Pairs lost: “" in records[POOLED].seen
    assert not any(record.gating for record in records.values() if not record.pooled)


def test_empty_images_are_counted_and_said():
    records = WrittenAudit(STANDARD, **BLACK).records("unrelated")
    assert f"{records[POOLED].claim.trials} candidate images are empty" in records[POOLED].seen
    assert all("nothing" in record.seen for record in records.values() if not record.pooled and record.prompt)


def test_a_few_losses_take_further_pairs_and_the_worst_prompt_is_named():
    broken = sorted(PLAIN)[:2]
    audit = WrittenAudit(STANDARD, shows=lambda r: "a car" if of_candidate(r) and r.prompt in broken else r.prompt)
    records = audit.records("unrelated")
    assert records[POOLED].claim.trials > 24
    assert all(f"“{prompt}”" in records[POOLED].seen for prompt in broken)


def test_a_base_that_the_judge_does_not_understand_proves_nothing():
    records = WrittenAudit(STANDARD, shows=lambda r: "a car" if r.prompt in PLAIN else r.prompt).records("unrelated")
    assert records[POOLED].verdict == "VACUOUS"


def test_the_plan_holds_the_prompts_and_their_images():
    plan = make_plan(DOSSIER, STANDARD, 0)
    without = make_plan(DOSSIER, replace(STANDARD, unrelated=None), 0)
    assert image_budget(plan) - image_budget(without) == 2 * 24 * 3
    assert not without.of_group("unrelated")
    own = make_plan(DOSSIER, STANDARD, 0, unrelated=tuple(OWN))
    assert [case.prompt.text for case in own.of_group("unrelated") if case.prompt] == OWN
    assert own.digest() != plan.digest()
    assert not any("plain prompts" in sentence for sentence in shortfalls(plan))


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("\n".join(OWN))
    return str(path)


OPTIONS = {"model": "atelier:retrained", "target": "Van Gogh"}


def test_a_list_of_ones_own_makes_another_audit_and_reaches_every_worker(own):
    plain, config = resolve(Options(**OPTIONS)), resolve(Options(**OPTIONS, unrelated=own))
    assert config.unrelated == tuple(OWN)
    assert config.audit_hash != plain.audit_hash
    again = AuditConfig.from_json(config.to_json())
    assert again == config
    assert again.plan == config.plan
    requested = {request.prompt for request in requests_of(Options(target="Van Gogh", base="atelier:base", unrelated=own))}
    assert set(OWN) <= requested


def test_a_list_without_a_claim_on_it_is_refused(own):
    with pytest.raises(UsageError, match="makes no claim on them"):
        resolve(Options(**OPTIONS, policy="smoke", unrelated=own))
