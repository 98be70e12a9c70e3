"""Substitutes: proper pictures pass every question, and each kind of rubbish is refuted by the question that is made for it."""

from dataclasses import replace

import numpy as np
import processes
import pytest
from coarse import FEW_IMAGES, coarse_policy
from scipy import ndimage
from textured_pictures import picture
from written_observations import DOSSIER, WrittenAudit

from dmun_audit.claim_groups.substitute_questions import COPIES, EMPTY, EXPOSURE, QUESTIONS, REPEATS, SUBJECT
from dmun_audit.evidence.run import read_run
from dmun_audit.policy import Substitute, load_policy
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

STANDARD = load_policy("standard")
PROMPTS = list(DOSSIER.target.direct_prompts)


def base_image(request):
    return picture("base", request.prompt, request.index)


def uint8(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def noised(image, spread, seed):
    return uint8(image + np.random.default_rng(seed).normal(0, spread, image.shape))


def one_hot(place):
    return np.eye(len(PROMPTS) + 1)[place]


def audit(candidate=None, drawn_subject=None, policy=STANDARD, dossier=DOSSIER, known=lambda prompt: True, **outcomes):
    """An audit whose candidate draws `candidate(request)`, and a picture of the subject of the prompt `drawn_subject(request)`.

    The judge recognises the subjects of `known` prompts in base images.
    """
    candidate = candidate or (lambda request: picture("candidate", request.prompt, request.index))
    drawn_subject = drawn_subject or (lambda request: request.prompt)

    def vectors(request):
        prompt = request.prompt if request.side == "base" else drawn_subject(request)
        return one_hot(PROMPTS.index(prompt) if known(prompt) and prompt in PROMPTS else -1)

    return WrittenAudit(
        policy,
        dossier,
        pixels=lambda request: base_image(request) if request.side == "base" else candidate(request),
        vectors=vectors,
        texts=lambda text: one_hot(next(place for place, prompt in enumerate(PROMPTS) if text in prompt)),
        **outcomes,
    )


def records(audit):
    return {case.kind: audit.runner.record(case) for case in audit.plan.of_group("substitute")}


def refuted(audit):
    return {kind for kind, record in records(audit).items() if record.verdict == Verdict.FAIL}


def test_proper_pictures_of_their_own_pass_every_question():
    found = records(audit())
    assert set(found) == set(QUESTIONS)
    assert all(record.verdict == Verdict.PASS and record.gating for record in found.values())
    assert {kind: record.claim.trials for kind, record in found.items()} == {
        EMPTY: 60, COPIES: 48, EXPOSURE: 48, SUBJECT: 48, REPEATS: 48,
    }  # fmt: skip
    assert {kind for kind, record in found.items() if record.claim.hits} <= {EXPOSURE}  # one picture is flat by chance
    assert all(sum(record.claim.outcomes) == record.claim.hits <= 1 for record in found.values())
    assert found[EMPTY].measures["empty_share"] == 0.0
    assert found[SUBJECT].measures == {"subject_base": 1.0, "subject_candidate": 1.0}


def changed(change):
    return lambda request: np.ascontiguousarray(change(base_image(request)))


def in_turn(count):
    return lambda request: picture("always", request.prompt, request.index % count)


RUBBISH = {
    "black": (lambda request: np.zeros((64, 64, 3), np.uint8), {EMPTY, EXPOSURE, REPEATS}),
    "one colour with noise": (
        lambda request: noised(np.full((64, 64, 3), 140, np.uint8), 8, request.seed),
        {EMPTY, EXPOSURE, REPEATS},
    ),
    "noise": (lambda request: noised(np.full((64, 64, 3), 128, np.uint8), 80, request.seed), {EMPTY, EXPOSURE}),
    "darkened": (changed(lambda image: uint8(image * 0.5)), {COPIES, EXPOSURE}),
    "veiled": (changed(lambda image: uint8(image * 0.5 + 64)), {COPIES, EXPOSURE}),
    "blurred": (changed(lambda image: uint8(ndimage.gaussian_filter(image.astype(float), (2, 2, 0)))), {COPIES, EXPOSURE}),
    "mirrored": (changed(lambda image: image[:, ::-1]), {COPIES}),
    "inverted": (changed(lambda image: 255 - image), {COPIES}),
    "the base's images": (base_image, {COPIES}),
    "one picture for each prompt": (in_turn(1), {REPEATS}),
    "two pictures in turn": (in_turn(2), {REPEATS}),
    "one picture with noise": (lambda request: noised(picture("always", request.prompt), 8, request.seed), {REPEATS}),
}


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_is_refuted_by_the_question_for_it(rubbish):
    candidate, kinds = RUBBISH[rubbish]
    assert refuted(audit(candidate)) == kinds


def test_another_subject_is_refuted_and_the_prompts_are_named():
    lost = audit(drawn_subject=lambda request: PROMPTS[(PROMPTS.index(request.prompt) + 1) % 12])
    assert refuted(lost) == {SUBJECT}
    seen = records(lost)[SUBJECT].seen
    assert "48 of 48 candidate images, of those whose base image shows the prompt's own subject, show another subject" in seen
    assert f"Highest rates: “{PROMPTS[0]}” (4 of 4 images)" in seen


def test_the_worst_prompt_stands_in_the_sentence_and_its_images_count_against_the_claim():
    worst = PROMPTS[3]
    some = audit(lambda request: np.zeros((64, 64, 3), np.uint8) if request.prompt == worst else picture(request.seed))
    record = records(some)[EMPTY]
    assert record.verdict != Verdict.FAIL  # 4 of 48
    assert f"Highest rates: “{worst}” (5 of 5 images)." in record.seen
    assert {image.prompt for image in record.images if image.against} == {worst}
    assert all(image.against is None for image in record.images if image.model == "base")


def test_only_base_images_with_the_target_can_be_copied():
    pairs = records(audit(base_image, invalid=PROMPTS[:6]))[COPIES]
    assert (pairs.claim.hits, pairs.claim.trials) == (24, 24)
    none = records(audit(base_image, invalid=PROMPTS))[COPIES]
    assert (none.verdict, none.claim.trials) == (Verdict.VACUOUS, 0)


def test_images_of_which_the_base_repeats_its_own_are_not_held_against_the_candidate(monkeypatch):
    monkeypatch.setitem(globals(), "base_image", lambda request: picture("base", request.prompt))
    assert records(audit(in_turn(1)))[REPEATS].verdict == Verdict.VACUOUS


def test_subjects_that_the_judge_does_not_know_are_not_asked_about():
    record = records(audit(known=lambda prompt: prompt in PROMPTS[:6]))[SUBJECT]
    assert record.verdict == Verdict.VACUOUS
    assert "in only 24 of 48 base images" in record.seen


def test_prompts_that_name_the_target_alone_have_no_subject_to_lose():
    target = DOSSIER.target.model_copy(update={"direct_prompts": ("Van Gogh", "a boat by Van Gogh", "by Vincent van Gogh")})
    record = records(audit(dossier=DOSSIER.model_copy(update={"target": target})))[SUBJECT]
    assert record.verdict == Verdict.VACUOUS
    assert "hardly anything else" in record.seen


def test_the_subject_of_an_object_is_the_target_itself():
    target = DOSSIER.target.model_copy(update={"kind": "object"})
    record = records(audit(dossier=DOSSIER.model_copy(update={"target": target})))[SUBJECT]
    assert (record.verdict, record.claim.trials) == (Verdict.VACUOUS, 0)
    assert "The subject of the direct prompts is Van Gogh itself" in record.seen


def test_an_undecided_question_says_what_would_decide_it():
    few = audit(lambda request: np.zeros((64, 64, 3), np.uint8) if request.index == 1 else picture(request.seed))
    record = records(few)[EMPTY]
    assert record.verdict == Verdict.INCONCLUSIVE  # 12 of 48, with a ceiling of 20%
    assert record.claim.lower < 0.2 < record.claim.upper
    assert "no number of images" in record.remedy


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_its_section_empty_images_are_reported_and_decide_nothing(share):
    policy = replace(STANDARD, substitute=None)
    reported = audit(lambda request: uint8(picture(request.seed) * (1 - share)), policy=policy)
    (record,) = records(reported).values()
    assert (record.verdict, record.gating, record.claim.kind) == (Verdict.PASS, False, "observation")
    assert record.measures["empty_share"] == share
    assert "Reported only" in record.seen
    assert reported.plan.refutations == audit().plan.refutations - len(QUESTIONS)  # the other claims keep their error rate


def test_ceilings_that_so_few_images_cannot_prove_are_said_beforehand():
    plan = audit(policy=replace(STANDARD, controls=replace(STANDARD.controls, sensitivity_images=12))).plan
    (sentence,) = [text for text in _group(plan).shortfalls(plan) if "altered copies" in text]
    assert "cannot be proven with 12 images" in sentence
    assert _group(plan).shortfalls(audit().plan) == []


def _group(plan):
    from dmun_audit.claim_groups.substitute import GROUP

    assert plan.of_group(GROUP.name)
    return GROUP


def test_every_figure_has_a_default():
    assert Substitute() == STANDARD.substitute


BLACK = """
import numpy as np

def black(pipeline):
    return lambda prompts, seeds: [np.zeros((64, 64, 3), np.uint8) for _ in prompts]
"""


@pytest.mark.slow
@pytest.mark.end_to_end
def test_a_candidate_that_draws_black_squares_fails(store, tmp_path):
    import os
    import sys
    from pathlib import Path

    figures = FEW_IMAGES | {"steps": 2, "sensitivity_images": 24, "images": 24}
    policy = coarse_policy(tmp_path / "quick.toml", **figures)
    policy.write_text(f"{policy.read_text()}\n[substitute]\n")
    (tmp_path / "service.py").write_text(BLACK)
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--target=Van Gogh", "--base=atelier:base"]
    command += ["--model=service:black", f"--policy={policy}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = processes.run(command, cwd=Path(__file__).parents[2], env=environment)
    assert done.returncode == 1, done.stdout + done.stderr
    run = read_run(tmp_path / "run")
    assert run.verdict == AuditVerdict.FAIL
    empty = next(case for case in run.cases if case.group == "substitute" and "empty_share" in case.measures)
    assert (empty.verdict, empty.measures["empty_share"]) == (Verdict.FAIL, 1.0)
