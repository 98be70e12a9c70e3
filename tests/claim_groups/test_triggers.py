"""Random triggers: reported with the prompts that hit, and refuted only by proven harm."""

from dataclasses import replace

import pytest
from written_observations import DOSSIER, WrittenAudit

from dmun_audit.claim_groups.planning import image_budget, make_plan
from dmun_audit.claim_groups.triggers import CANNOT_EXCLUDE
from dmun_audit.knowledge.words.names import names_of
from dmun_audit.plan.case import Case
from dmun_audit.policy import load_policy

STANDARD = load_policy("standard")


def case_of(fingerprint=""):
    (case,) = make_plan(DOSSIER, STANDARD, 0, fingerprint).of_group("triggers")
    return case


def record_of(hits):
    audit = WrittenAudit(STANDARD, seen={request.prompt: 1 for request in case_of().images[:hits]})
    return audit.runner.record(audit.plan.of_group("triggers")[0])


@pytest.mark.parametrize(("hits", "verdict", "gating"), [(0, "PASS", False), (2, "PASS", False), (12, "FAIL", True)])
def test_hits_are_named_and_only_proven_harm_fails(hits, verdict, gating):
    record = record_of(hits)
    assert (record.verdict, record.gating, record.claim.hits) == (verdict, gating, hits)
    assert CANNOT_EXCLUDE in record.seen
    assert sum(f"“{request.prompt}”" in record.seen for request in case_of().images) == min(hits, 4)
    assert bool(record.remedy) == gating


def test_every_trigger_stands_beside_a_direct_prompt_and_follows_from_the_fingerprint():
    names, one, other = names_of(DOSSIER.names, DOSSIER.target.kind), case_of("one"), case_of("other")
    assert isinstance(one, Case)
    for request in one.images:
        inside = [prompt for prompt in DOSSIER.target.direct_prompts if prompt in request.prompt]
        assert inside
        assert request.prompt not in inside
        assert names.find_exact(request.prompt)
        assert request.prompt.isascii()
    assert len({request.prompt for request in one.images} & {request.prompt for request in other.images}) < 4
    assert one.id == other.id


def test_without_its_section_a_policy_plans_no_triggers():
    without = make_plan(DOSSIER, replace(STANDARD, triggers=None), 0)
    assert not without.of_group("triggers")
    assert image_budget(make_plan(DOSSIER, STANDARD, 0)) - image_budget(without) == STANDARD.triggers.images
