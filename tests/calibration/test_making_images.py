"""Drawing and judging the images: the prompts of an audit, the judge's own scores, and files that say what they hold."""

import json

import numpy as np
import pytest

from benchmarks.calibration.batched_judge import BatchedJudge
from benchmarks.calibration.image_maker import IMAGE_SEED, judged_prompts
from benchmarks.calibration.judged_images import NOTHING, JudgedImages
from benchmarks.calibration.known_models import parse_model
from benchmarks.calibration.making import PACK, make_judged_images
from dmun_audit._util.errors import UsageError
from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.judge.detection import clip_scores, label_shares
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.policy import load_policy

ONE_DIRECT_IMAGE = {"erasure": 1, "validation": 0, "adversarial": 0, "retention": 0}


def test_a_batch_gets_the_scores_that_the_judge_gives():
    dossier = open_knowledge(PACK)
    pictures = np.stack([paint(style, SUBJECTS[n % len(SUBJECTS)], n) for n, style in enumerate(STYLES * 8)])
    pixels = pictures if pictures.dtype == np.uint8 else (pictures * 255).round().astype(np.uint8)
    prompts = [dossier.target.direct_prompts[n % len(dossier.target.direct_prompts)] for n in range(len(pixels))]
    concept = next(concept for concept in dossier.concepts if concept.name == "Claude Monet")
    batched = BatchedJudge(dossier, "cpu")
    target, clip, recognised = batched.score(pixels, prompts, [concept] * len(pixels))

    judge = batched.judge
    vectors = judge.embed_images(list(pixels))
    rivals = [c.label for c in dossier.concepts if c.kind == "style" and c.role != "erase" and not c.may_contain_target]
    labels = list(dict.fromkeys([dossier.target.label, *rivals, *dossier.anchors]))
    shares = label_shares(vectors, judge.embed_texts(labels), judge.scale)[:, 0]
    assert np.abs(target - shares).max() < 1e-4
    assert ((target > 0.2) == (shares > 0.2)).all()
    assert np.abs(clip - clip_scores(vectors, judge.embed_texts(prompts))).max() < 1e-5
    monets = np.array([STYLES[n % len(STYLES)] == "monet" for n in range(len(pixels))])
    assert recognised[monets].mean() > 0.9
    assert recognised[~monets].mean() < 0.1


def test_the_prompts_are_those_of_an_audit_with_seeds_of_their_own():
    plan = make_plan(open_knowledge(PACK), load_policy("standard"), IMAGE_SEED)
    prompts = judged_prompts(plan)
    count = {kind: sum(prompt.kind == kind for prompt in prompts) for kind in ("erasure", "validation", "adversarial")}
    assert count == {"erasure": 16, "validation": 20, "adversarial": 20}
    drawn = {(r.prompt, r.index): r.seed for case in plan.of_group("erasure") for r in case.images}
    first = prompts[0]
    assert first.seeds(range(4)) == [drawn[first.text, index] for index in range(4)]
    seeds = [seed for prompt in prompts if prompt.kind != "retention" for seed in prompt.seeds(range(100))]
    shared = {p.text for p in prompts if p.kind == "erasure"} & {p.text for p in prompts if p.kind == "adversarial"}
    assert not shared
    assert len(set(seeds)) == len(seeds)


@pytest.mark.slow
def test_a_small_set_says_what_it_holds_and_how_it_was_made(tmp_path):
    models = [parse_model("base"), parse_model("uce-van-gogh")]
    make_judged_images(models, tmp_path, device="cpu", images=ONE_DIRECT_IMAGE, minutes=10, batch=16, rounds=1)
    images = JudgedImages(tmp_path)
    scores, description = images.target["erasure"], images.description
    assert scores.shape == (3, 16, 1)  # two models, and one that draws nothing
    assert images.images_of_each("erasure") == 1
    assert (scores[0] > 0.2).mean() > 0.9
    assert (scores[1] > 0.2).mean() < 0.2
    assert list(images.models) == ["base", "uce-van-gogh", NOTHING]
    assert description["images"] == 32
    assert description["complete"]
    assert len(description["prompts"]["erasure"]) == 16
    assert len(set(description["weights"].values())) == 2
    assert description["sampler"]["steps"] == 20


def test_without_time_no_image_is_drawn_and_the_file_says_so(tmp_path):
    scores = make_judged_images(
        [parse_model("base")], tmp_path, device="cpu", images=ONE_DIRECT_IMAGE, minutes=0, batch=16, rounds=1
    )
    description = json.loads((tmp_path / "judged_images.json").read_text())
    assert scores.count() == description["images"] == 0
    assert not description["complete"]


def test_a_folder_without_judged_images_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no judged images"):
        JudgedImages(tmp_path)
