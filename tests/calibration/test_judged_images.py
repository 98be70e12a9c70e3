"""The auditor audited: the models whose answer is known, and the bank of their judged images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.calibration.bank import BANK_SEED, BatchedEyes, questions_of  # noqa: E402
from benchmarks.calibration.banking import PACK, make_bank  # noqa: E402
from benchmarks.calibration.models import Degree, Shelf, bank_models, parse_degree  # noqa: E402
from dmun_audit import references  # noqa: E402
from dmun_audit._util.errors import UsageError  # noqa: E402
from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint  # noqa: E402
from dmun_audit.judge.clip import ClipJudge  # noqa: E402
from dmun_audit.judge.detection import clip_scores, label_shares  # noqa: E402
from dmun_audit.knowledge.packs import open_knowledge  # noqa: E402
from dmun_audit.models.loading import load_candidate  # noqa: E402
from dmun_audit.plan.plan import make_plan  # noqa: E402
from dmun_audit.policy import load_policy  # noqa: E402


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf("cpu")


def test_a_degree_reads_as_it_is_named() -> None:
    assert parse_degree("uce-van-gogh@0.7") == Degree("uce-van-gogh@0.7", "base", (("uce-van-gogh", 0.7),))
    assert parse_degree("retrained+damaged@0.2") == Degree("retrained+damaged@0.2", "retrained", (("damaged", 0.2),))
    assert all(parse_degree(model.name) == model for model in bank_models())
    with pytest.raises(UsageError, match="no amount"):
        parse_degree("damaged@much")


def test_models_of_the_bank_have_names_of_their_own_and_the_base_comes_first() -> None:
    names = [model.name for model in bank_models()]
    assert len(set(names)) == len(names)
    assert names[0] == "base"


def test_nothing_of_an_edit_is_the_base_and_all_of_it_is_the_shipped_model(shelf: Shelf) -> None:
    assert shelf.set_to(parse_degree("uce-van-gogh@0"))[1] == shelf.base.weights_digest
    shipped = load_candidate(references.parse_reference("atelier:uce-van-gogh"), shelf.base.reference)
    assert shelf.set_to(parse_degree("uce-van-gogh"))[1] == shipped.weights_digest
    model, _ = shelf.set_to(parse_degree("uce-van-gogh@1"))
    theirs = shipped.pipeline.unet.state_dict()
    assert all(torch.allclose(value, theirs[name], atol=1e-6) for name, value in model.pipeline.unet.state_dict().items())


def test_half_an_edit_lies_midway_and_leaves_the_base_alone(shelf: Shelf) -> None:
    name = next(name for name in shelf.base.pipeline.unet.state_dict() if name.endswith("attn2.to_k.weight"))
    weights = {
        degree: shelf.set_to(parse_degree(degree))[0].pipeline.unet.state_dict()[name].clone()
        for degree in ("base", "damaged@0.5", "damaged")
    }
    assert torch.allclose(weights["damaged@0.5"], (weights["base"] + weights["damaged"]) / 2, atol=1e-6)
    assert shelf.set_to(parse_degree("base"))[1] == shelf.base.weights_digest


def test_a_retrained_model_is_damaged_on_its_own_pipeline(shelf: Shelf) -> None:
    alone, _ = shelf.set_to(parse_degree("retrained"))
    before = {name: value.clone() for name, value in alone.pipeline.unet.state_dict().items()}
    moved, _ = shelf.set_to(parse_degree("retrained+damaged@0.1"))
    changed = {name for name, value in moved.pipeline.unet.state_dict().items() if not torch.equal(value, before[name])}
    assert moved.reference.name == "retrained"
    assert changed
    assert all(".attn2.to_" in name for name in changed)


def test_the_batched_eyes_see_what_the_judge_sees() -> None:
    dossier = open_knowledge(PACK)
    pictures = np.stack([paint(style, SUBJECTS[n % len(SUBJECTS)], n) for n, style in enumerate(STYLES * 8)])
    pixels = pictures if pictures.dtype == np.uint8 else (pictures * 255).round().astype(np.uint8)
    texts = dossier.target.direct_prompts
    asked = [texts[n % len(texts)] for n in range(len(pixels))]
    concept = next(concept for concept in dossier.concepts if concept.name == "Claude Monet")
    target, clip, right = BatchedEyes(dossier, "cpu").look(pixels, asked, [concept] * len(pixels))

    judge = ClipJudge(f"local-dir:{references.atelier_judge()}")
    seen = judge.embed_images(list(pixels))
    rivals = [c.label for c in dossier.concepts if c.kind == "style" and c.role != "erase" and not c.may_contain_target]
    labels = list(dict.fromkeys([dossier.target.label, *rivals, *dossier.anchors]))
    shares = label_shares(seen, judge.embed_texts(labels), judge.scale)[:, 0]
    assert np.abs(target - shares).max() < 1e-4
    assert ((target > 0.2) == (shares > 0.2)).all()
    assert np.abs(clip - clip_scores(seen, judge.embed_texts(asked))).max() < 1e-5
    monets = np.array([STYLES[n % len(STYLES)] == "monet" for n in range(len(pixels))])
    assert right[monets].mean() > 0.9
    assert right[~monets].mean() < 0.1


def test_a_bank_asks_what_an_audit_asks_with_seeds_of_its_own() -> None:
    plan = make_plan(open_knowledge(PACK), load_policy("standard"), BANK_SEED)
    asked = questions_of(plan)
    count = {kind: sum(question.kind == kind for question in asked) for kind in ("erasure", "validation", "adversarial")}
    assert count == {"erasure": 16, "validation": 20, "adversarial": 20}
    drawn = {(r.prompt, r.index): r.seed for case in plan.of_group("erasure") for r in case.images}
    first = asked[0]
    assert first.seeds(range(4)) == [drawn[first.prompt, index] for index in range(4)]
    seeds = [seed for question in asked if question.kind != "retention" for seed in question.seeds(range(100))]
    shared = {q.prompt for q in asked if q.kind == "erasure"} & {q.prompt for q in asked if q.kind == "adversarial"}
    assert not shared
    assert len(set(seeds)) == len(seeds)


def test_a_small_bank_says_what_it_holds_and_how_it_was_made(tmp_path: Path) -> None:
    sizes = {"erasure": 1, "validation": 0, "adversarial": 0, "retention": 0}
    degrees = [parse_degree("base"), parse_degree("uce-van-gogh")]
    make_bank(degrees, tmp_path, device="cpu", images=sizes, minutes=10, batch=16, rounds=1)
    with np.load(tmp_path / "bank.npz") as stored:
        scores = stored["erasure_target"]
    said = json.loads((tmp_path / "bank.json").read_text())
    assert scores.shape == (2, 16, 1)
    assert (scores[0] > 0.2).mean() > 0.9
    assert (scores[1] > 0.2).mean() < 0.2
    assert [model["name"] for model in said["models"]] == ["base", "uce-van-gogh"]
    assert said["images"] == 32
    assert said["complete"]
    assert len(said["questions"]["erasure"]) == 16
    assert len(set(said["weights"].values())) == 2
    assert said["sampler"]["steps"] == 20


def test_a_bank_out_of_time_draws_nothing_more_and_says_so(tmp_path: Path) -> None:
    sizes = {"erasure": 1, "validation": 0, "adversarial": 0, "retention": 0}
    bank = make_bank([parse_degree("base")], tmp_path, device="cpu", images=sizes, minutes=0, batch=16, rounds=1)
    said = json.loads((tmp_path / "bank.json").read_text())
    assert bank.images() == said["images"] == 0
    assert not said["complete"]
