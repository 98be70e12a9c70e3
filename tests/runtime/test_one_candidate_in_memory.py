"""Candidates over one loaded base: at most one of them is in memory, and base and judges stay."""

import gc
import weakref

from coarse import coarse_policy

from dmun_audit.config.campaign import CampaignOptions, NamedModel, resolve_campaign
from dmun_audit.config.options import Options
from dmun_audit.runtime.candidates import Candidates
from dmun_audit.runtime.target_audit import TargetAudit

MODELS = ("atelier:uce-van-gogh", "atelier:noop")


def test_one_candidate_is_in_memory_and_the_base_and_the_judge_stay(store, tmp_path):
    policy = coarse_policy(tmp_path / "quick.toml", steps=2, sensitivity_images=4)
    asked = CampaignOptions(
        Options(policy=str(policy), store=str(store)), tuple(map(NamedModel, MODELS)), ("Van Gogh", "sunflowers")
    )
    audits = [TargetAudit(config) for config in resolve_campaign(asked).configs]
    candidates = Candidates(audits)
    base, opened = candidates.load_base(), []
    judges = dict(base.judges._clip_models)
    for audit in (*audits, audits[0]):  # the first candidate is opened again at the end
        record = candidates.check(audit, audit.config.plan.of_kind("sensitivity"))
        assert record.claim.trials == 4
        pipeline = candidates._open.candidate.pipeline
        if not any(reference() is pipeline for reference in opened):
            opened.append(weakref.ref(pipeline))
        assert candidates._open.base is base.model
        del pipeline
        gc.collect()
        assert [reference() is not None for reference in opened] == [False] * (len(opened) - 1) + [True]
    assert len(opened) == 3
    assert len(judges) == 1
    assert base.judges._clip_models == judges
    assert {audit.facts["models"]["candidate"]["reference"] for audit in audits} == set(MODELS)
