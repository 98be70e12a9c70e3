"""The claim on variety: repeated pictures are found, in whatever way they repeat."""

from dataclasses import replace

import numpy as np
import pytest
from written_observations import DOSSIER, WrittenAudit, fields

from dmun_audit.claim_groups.diversity import mean_ratio, repeated, second_seeds
from dmun_audit.claim_groups.planning import candidate_requests, image_budget, make_plan
from dmun_audit.policy import load_policy

STANDARD = load_policy("standard")
POOLED = "Over all retained concepts together, pictures are seldom repeated"
SEEDS = "Over all retained concepts together, two seeds of a prompt give different pictures"
RETAINED = [concept for concept in make_plan(DOSSIER, STANDARD, 0).nearby if concept.role == "retain"]


def owner(request):
    return next((concept.name for concept in RETAINED if request.prompt in concept.prompts), "")


def collapsed(picture, concepts=None):
    """Outcomes of a candidate that gives `picture(request)` for these concepts."""

    def name(request):
        mine = request.side == "candidate" and owner(request) and (concepts is None or owner(request) in concepts)
        return picture(request) if mine else f"{request.prompt} {request.index}"

    def text(request):
        return request.prompt if name(request) == f"{request.prompt} {request.index}" else name(request)

    return {"picture": name, "shows": text}


def test_a_candidate_with_the_variety_of_the_base_passes():
    audit = WrittenAudit(STANDARD)
    records = audit.records("diversity")
    assert {record.verdict for record in records.values()} == {"PASS"}
    assert records[POOLED].claim.trials == 9 * 10  # eight pictures and three second seeds of each, but the first
    assert records[SEEDS].claim.trials == 9 * 3
    assert all(abs(record.measures["spread_ratio"] - 1) < 1e-6 for record in records.values() if not record.pooled)


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(lambda request: owner(request), id="one for each concept"),
        pytest.param(lambda request: f"{owner(request)} {request.seed % 2}", id="two in turn"),
        pytest.param(lambda request: f"{owner(request)} {request.seed % 3}", id="three in turn"),
    ],
)
def test_few_pictures_fail(picture):
    records = WrittenAudit(STANDARD, **collapsed(picture)).records("diversity")
    assert records[POOLED].verdict == "FAIL"
    assert not any(record.verdict == "PASS" for record in records.values() if not record.pooled)


def test_one_picture_for_each_prompt_fails_by_its_second_seeds():
    records = WrittenAudit(STANDARD, **collapsed(lambda request: request.prompt)).records("diversity")
    assert records[SEEDS].verdict == "FAIL"
    assert "27 of 27 second seeds" in records[SEEDS].seen
    assert {record.verdict for record in records.values() if not record.pooled} == {"INCONCLUSIVE"}


@pytest.mark.parametrize("picture", [owner, lambda request: request.prompt], ids=["of the concept", "of the prompt"])
def test_one_collapsed_concept_of_nine_never_passes_alone(picture):
    records = WrittenAudit(STANDARD, **collapsed(picture, {"Katsushika Hokusai"})).records("diversity")
    failing = {title for title, record in records.items() if record.verdict.is_failure and not record.pooled}
    assert failing == {"Katsushika Hokusai keeps its variety"}
    assert records["Katsushika Hokusai keeps its variety"].gating
    assert "Katsushika Hokusai" in records[SEEDS].seen + records[POOLED].seen


def test_noise_over_one_picture_does_not_hide_it():
    def pixels(request):
        if request.side == "base" or not owner(request):
            return fields(f"{request.prompt} {request.index}")
        noise = np.random.default_rng(request.seed % 2**32).normal(0, 10, (32, 32, 3))
        return np.clip(fields(owner(request)) + noise, 0, 255).astype(np.uint8)

    records = WrittenAudit(STANDARD, pixels=pixels).records("diversity")
    assert records[POOLED].verdict == "FAIL"


def test_the_second_seeds_need_candidate_images_alone_and_all_are_planned():
    audit = WrittenAudit(STANDARD)
    audit.records("diversity")
    without = make_plan(DOSSIER, replace(STANDARD, diversity=None), 0)
    second_seeds = image_budget(audit.plan) - image_budget(without)
    assert second_seeds == 3 * len([case for case in audit.plan.of_group("diversity") if case.concept])
    drawn = {request for request in audit.observations.drawn if owner(request)}
    assert {request for request in drawn if request.side == "candidate"} <= set(candidate_requests(audit.plan))
    planned = {request for case in audit.plan.of_group("retention") for request in case.images_of("base")}
    assert {request for request in drawn if request.side == "base"} <= planned


def test_a_policy_without_the_section_has_no_such_case():
    assert not make_plan(DOSSIER, replace(STANDARD, diversity=None), 0).of_group("diversity")


def test_repetition_is_relative_to_the_base():
    base = np.array([[0, 1.0, 0.1], [1.0, 0, 1.0], [0.1, 1.0, 0]])
    candidate = np.array([[0, 0.2, 0.05], [0.2, 0, 0.3], [0.05, 0.3, 0]])
    assert repeated([base], [candidate], 0.25) == [[], [0], []]
    assert repeated([base, base], [base, candidate], 0.25) == [[], [0], []]
    assert repeated([base], [base], 0.25) == [[], [], []]
    assert mean_ratio(base, base / 2) == pytest.approx(0.5)


def test_second_seeds_count_against_their_own_prompt_alone():
    assert second_seeds(["a", "b", "a", "b"], [[], [], [1], [1]]) == [0, 1]
    assert second_seeds(["a", "b"], [[], [0]]) == []
