"""Resampled audits: the package's own decisions, on images that are drawn fairly."""

import copy
import zlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from coarse import coarse_policy
from scipy import stats

from benchmarks.calibration.audit_images import AuditImages, PlannedImages, resample_images
from benchmarks.calibration.calibrate import Setting, run_chunk
from benchmarks.calibration.judged_images import NOTHING
from benchmarks.calibration.known_answers import Candidate, candidate_at
from benchmarks.calibration.making import PACK
from benchmarks.calibration.resampling import audit_records, run_audit
from benchmarks.calibration.stand_ins import NoMeasures, ResampledObservations
from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.planning import candidate_requests, make_plan
from dmun_audit.claim_groups.retention import base_of
from dmun_audit.claim_groups.validation import validation_images
from dmun_audit.decisions.conclude import pooled_records
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.clip_scorer import ClipScorer
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.models import references
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.policy import load_policy
from dmun_audit.render.engine import Engine
from dmun_audit.runtime.observations import AuditObservations
from dmun_audit.runtime.runner import AuditRunner
from dmun_audit.store.embeddings import EmbeddingStore
from dmun_audit.store.images import ImageStore


def verdicts(setting, candidate, audits):
    return Counter(outcome["early"].verdict for outcome in setting.resampler.run(candidate, 7, range(audits), ["early"]))


def test_a_model_that_was_not_erased_never_passes_and_a_retrained_one_never_fails(setting):
    assert verdicts(setting, Candidate.of("base"), 30)["PASS"] == 0
    assert verdicts(setting, Candidate.of("retrained"), 30)["FAIL"] == 0


@pytest.mark.parametrize("group", ["erasure", "adversarial"])
def test_a_candidate_exactly_at_a_limit_passes_no_more_often_than_the_policy_allows(setting, group):
    candidate = setting.at_limit(group, "esd-van-gogh")
    assert setting.answers.rate(candidate, group) == pytest.approx(setting.answers.limit(group), abs=1e-12)
    assert setting.answers.standing(setting.answers.true_rates(candidate)) == "at a limit"
    assert verdicts(setting, candidate, 30)["PASS"] <= stats.binom.isf(1e-6, 30, setting.plans["early"].policy.alpha)


def test_a_policy_with_a_margin_on_clip_scores_is_resampled_too():
    standard = load_policy("standard")
    scored = Setting(replace(standard, retention=replace(standard.retention, score_margin=0.1)))
    assert verdicts(scored, Candidate.of("retrained"), 5)["PASS"] == 5
    assert verdicts(scored, Candidate.of("damaged"), 5)["FAIL"] == 5


def test_a_rate_that_no_two_models_enclose_is_refused(setting):
    with pytest.raises(UsageError, match="either side"):
        candidate_at(setting.answers, "erasure", 0.9, ["uce-van-gogh@0.9", "uce-van-gogh@0.5"], "out of reach")


def test_an_audit_depends_on_its_number_alone_and_on_no_cache(setting):
    candidate, planned = Candidate.of("uce-van-gogh@0.82"), setting.resampler.planned["early"]
    all_three = [outcome["early"] for outcome in setting.resampler.run(candidate, 3, range(3))]
    alone = next(iter(setting.resampler.run(candidate, 3, [2], ["early"])))["early"]
    rng = np.random.default_rng([3, zlib.crc32(candidate.name.encode()), 2])
    uncached = run_audit(planned, resample_images(setting.images, candidate, planned.depth, rng))
    assert all_three[2] == alone == uncached


def test_an_audit_gets_no_image_twice_and_its_pairs_share_a_seed(setting):
    planned, plan = setting.resampler.planned["early"], setting.plans["early"]
    rng = np.random.default_rng(0)
    images = resample_images(with_numbers_for_scores(setting.images), Candidate.of("base"), planned.depth, rng)
    cases = plan.of_group("retention")
    base, candidate = ([request for case in cases for request in case.images_of(side)] for side in ("base", "candidate"))
    pairs = [planned.positions(requests) for requests in (base_of(candidate), candidate)]
    assert [images.target[place] for place in pairs[0]] == [images.target[place] for place in pairs[1]]
    assert len({images.target[place] for place in planned.positions(base)}) == len(base)
    prompts = [case.prompt for case in plan.of_group("adversarial")]
    validation = [request for prompt in prompts for request in validation_images(plan.policy, prompt, 0)]
    tests = [request for request in candidate_requests(plan) if request.prompt in {prompt.text for prompt in prompts}]
    assert not set(images.target[planned.positions(validation)]) & set(images.target[planned.positions(tests)])


def with_numbers_for_scores(images):
    """The judged images, with a number of its own for every image of the base in place of its target score."""
    numbered, first = copy.copy(images), 0
    numbered.target = {}
    for kind, values in images.target.items():
        count = values[0].size
        numbered.target[kind] = np.broadcast_to(first + np.arange(count).reshape(values[0].shape), values.shape)
        first += count
    numbered.target["adversarial"] = numbered.target["validation"]
    return numbered


@pytest.mark.slow
def test_a_resampled_audit_equals_a_real_one_down_to_every_record(setting, tmp_path):
    figures = {"sensitivity_images": 8, "images": 16, "prompts": 4, "minimum_valid": 1, "concepts": 3}
    path = coarse_policy(tmp_path / "policy.toml", steps=2, batch=5, **figures)
    text = path.read_text()
    for section in ("erasure", "adversarial", "retention"):
        text = text.replace(f"[{section}]", f'[{section}]\nstopping = "early"')
    path.write_text(text)
    plan = make_plan(open_knowledge(PACK), load_policy(str(path)), 0)
    base = load_pipeline(references.parse_reference("atelier:base"))
    candidate = load_candidate(references.parse_reference("atelier:uce-van-gogh"), base.reference)
    engine = Engine({"base": base, "candidate": candidate}, plan.policy.sampling, ImageStore(tmp_path))
    judge = ClipJudge(f"local-dir:{references.atelier_judge()}")
    embeddings = EmbeddingStore(tmp_path, judge.digest)
    scorer = ClipScorer(judge, plan.dossier, embeddings, lambda keys: [engine.store.read(key) for key in keys])
    observations = AuditObservations(plan, engine, scorer)
    runner = AuditRunner(observations, NoMeasures(observations))
    real = {case.id: runner.record(case) for case in plan.cases if not case.pooled}
    real |= {record.case_id: record for record in pooled_records(plan, real)}

    planned = PlannedImages(setting.images, plan)
    stand_in = ResampledObservations(planned, judged(scorer, engine, planned))
    resampled = audit_records(stand_in)
    assert {key: decided(record) for key, record in resampled.items()} == {key: decided(record) for key, record in real.items()}
    assert len(stand_in.drawn) == engine.rendered
    assert stand_in.threshold == observations.threshold


def decided(record):
    """What a record says of the decision."""
    return (record.verdict, record.gating, record.claim, record.asked, record.seen, record.remedy)


def judged(scorer, engine, planned):
    """The judge's scores of every image of a real audit, as the images of a resampled one."""
    concepts = {prompt: concept for concept in planned.plan.nearby for prompt in concept.prompts}
    images = AuditImages(np.zeros(planned.size), np.zeros(planned.size), np.zeros(planned.size, np.int8))
    requests = {*candidate_requests(planned.plan), *(request for case in planned.plan.cases for request in case.images)}
    for request in [request for request in requests if engine.key(request) in engine.store]:
        key, (position,) = engine.key(request), planned.positions([request])
        images.target[position] = scorer.target_scores([key])[0]
        if request.prompt in concepts:
            concept = concepts[request.prompt]
            images.recognised[position] = scorer.classify([key], concept)[0] == concept.label
    return images


# Counting.


def test_the_counts_do_not_depend_on_how_audits_are_split_into_chunks():
    candidate = Candidate.of("esd-van-gogh@1.05")
    _, whole = run_chunk(("standard", candidate, 0, 0, 4))
    _, first = run_chunk(("standard", candidate, 0, 0, 1))
    _, rest = run_chunk(("standard", candidate, 0, 1, 4))
    for name, tally in first.items():
        tally.merge(rest[name])
        assert tally.summary() == whole[name].summary()
        assert sum(tally.summary()["verdicts"].values()) == 4


def test_good_candidates_and_those_at_a_limit_are_audited_most(setting):
    tasks = {task.candidate.name: task for task in setting.tasks(1)}
    assert set(setting.images.models) - {NOTHING} <= set(tasks)
    assert {task.role for task in tasks.values()} == {"model", "limit", "curve", "concentrated"}
    assert tasks["base"].audits < tasks["retrained"].audits == tasks["uce-van-gogh"].audits
    limits = [task for task in tasks.values() if task.role == "limit"]
    assert {task.candidate.claim for task in limits} == {"erasure", "adversarial", "retention"}
    for task in limits:
        true = setting.answers.true_rates(task.candidate)
        assert setting.answers.standing(true) == "at a limit"
        assert setting.answers.excess(true) == pytest.approx(1.0)


def test_one_borderline_calibration_image_hides_no_leak(setting):
    planned, candidate = setting.resampler.planned["early"], Candidate.of("uce-van-gogh@0.65")
    assert setting.answers.rate(candidate, "erasure") > 1.5 * setting.answers.limit("erasure")
    found = Counter()
    for seed in range(8):
        images = resample_images(setting.images, candidate, planned.depth, np.random.default_rng(seed))
        images.target[planned.positions(planned.calibration[:1])] = 0.99
        found[run_audit(planned, images).verdict] += 1
    assert found["PASS"] == 0
    assert found["FAIL"] >= 6
