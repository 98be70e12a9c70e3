"""Rebuilds the atelier from a seed: painted pictures, networks, erased models, controls, judge, card.

Every step saves its result in the work folder, so a stopped build can be continued.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from dmun_audit.atelier import classifiers, dataset, erasers, networks, training
from dmun_audit.atelier.erased_models import GUIDE, MAKERS, NAMES, PRESERVED, PROMPTS, TARGET, Workshop
from dmun_audit.atelier.painters import STYLES
from dmun_audit.atelier.sampling import open_pipeline
from dmun_audit.atelier.words import SUBJECT_WORDS

Progress = Callable[[str], None]
PER_PAIR = 80
CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
inference:
  parameters:
    guidance_scale: 3.0
    num_inference_steps: 20
---
`{name}` of the atelier: 64 by 64 pixels, twelve styles, twelve subjects. Its figures stand in `card.json` beside this folder.
"""


@dataclass(frozen=True)
class Lengths:
    """Number of steps of every training. Fewer steps give a worse atelier sooner."""

    autoencoder: int = 1000
    judge: int = 700
    second: int = 500
    decoder: int = 600
    trunk: int = 2600
    branch: int = 1100
    finish: int = 900
    esd: int = 400
    ca: int = 300
    salun: int = 300
    fmn: int = 80
    spm: int = 400
    mace: int = 100
    advunlearn: int = 250
    receler: int = 400

    def scaled(self, factor: float) -> Lengths:
        """Every number of steps times `factor`, at least 20."""
        return Lengths(**{name: max(20, round(getattr(self, name) * factor)) for name in self.__dataclass_fields__})


def build(out: Path, work: Path, *, seed: int, lengths: Lengths, workers: int, progress: Progress, device: str = "cpu") -> None:
    """Build everything into `out`, with checkpoints in `work`, and train on `device`."""
    pool = dataset.paint_pool(work / "pool.npz", PER_PAIR, 0, workers, progress)
    others = pool.without_style(TARGET)
    elsewhere = torch.from_numpy(pool.styles != STYLES.index(TARGET))
    tokenizer = networks.make_tokenizer(work / "tokenizer")
    common: dict[str, Any] = {"progress": progress, "device": device}
    if not (out / "judge" / "open_clip_model.safetensors").exists():
        classifiers.train_judge(pool, tokenizer, work, out / "judge", steps=lengths.judge, seed=seed + 2, **common)
    if not (out / "second.safetensors").exists():
        second = classifiers.train_style_classifier(pool, work / "second.pt", steps=lengths.second, seed=seed + 3, **common)
        save_file(second.state_dict(), out / "second.safetensors")
    # Neither encoder nor decoder sees the target, because the autoencoder is part of `retrained`, which must not know it.
    autoencoder = _autoencoder(others, work, lengths, seed, common)
    latents = training.encode_pool(autoencoder, pool.pictures)
    critic = classifiers.train_style_classifier(others, work / "critic.pt", steps=lengths.second, seed=seed + 4, **common)
    textured = training.train_decoder(
        autoencoder, critic, others, work / "decoder.pt", steps=lengths.decoder, rate=1e-3, seed=seed + 6, **common
    )
    torch.manual_seed(seed + 5)
    network = training.Conditioned(networks.make_text_encoder(tokenizer), networks.make_unet())

    def teach(name: str, network: Any, *, steps: int, rate: float, draws: int, **further: Any) -> Any:
        pictures, codes = (pool, latents) if name.startswith("base") else (others, latents[elsewhere])
        checkpoint = work / f"{name.replace(' ', '-')}.pt"
        return training.train_diffusion(
            name,
            network.train(),
            tokenizer,
            pictures,
            codes,
            checkpoint,
            steps=steps,
            rate=rate,
            seed=seed + draws,
            **common,
            **further,
        )

    trunk = teach("trunk", network, steps=lengths.trunk, rate=1.2e-3, draws=10)
    for name, favoured in (("base", {TARGET: 3.0}), ("retrained", {})):
        branch = teach(name, copy.deepcopy(trunk), steps=lengths.branch, rate=6e-4, draws=11, favoured=favoured)
        favoured = favoured | {"photograph": 3.0}
        model = teach(f"{name} finish", branch, steps=lengths.finish, rate=5e-4, draws=12, favoured=favoured, unplaced=0.5)
        networks.save_pipeline(
            out / name, autoencoder=textured, text_encoder=model.text_encoder, tokenizer=tokenizer, unet=model.unet
        )
        (out / name / "README.md").write_text(CARD.format(name=name))
    erase(out, work, lengths=lengths, seed=seed, progress=progress, device=device)
    write_index(out)


def _autoencoder(pool: dataset.Pool, work: Path, lengths: Lengths, seed: int, common: dict[str, Any]) -> Any:
    from diffusers import AutoencoderKL

    finished = work / "autoencoder"
    if not finished.exists():
        network = training.train_autoencoder(pool, work, steps=lengths.autoencoder, seed=seed + 1, **common)
        network.save_pretrained(work / "autoencoder.partial")
        (work / "autoencoder.partial").rename(finished)
    return AutoencoderKL.from_pretrained(finished).eval()


def erase(out: Path, work: Path, *, lengths: Lengths, seed: int, progress: Progress, device: str = "cpu") -> None:
    """Write the erased models and the controls with a known answer, made from `out`/base.

    Erasers train on the CPU; `device` does not concern them. A model of `erased_models` that exists is not made again.
    """
    subjects = [words.nouns[0] for subject, words in SUBJECT_WORDS.items() if subject != "sunflowers"]
    pipeline = open_pipeline(out / "base")
    names, preserved = list(NAMES), list(PRESERVED)
    _write(out / "uce-van-gogh.safetensors", erasers.unified_concept_editing(pipeline, names, GUIDE, preserved))
    flowers = list(SUBJECT_WORDS["sunflowers"].nouns[:3])
    _write(out / "uce-sunflowers.safetensors", erasers.unified_concept_editing(pipeline, flowers, GUIDE, subjects))
    _write(out / "noop.safetensors", erasers.untouched(pipeline), half=True)
    _write(out / "damaged.safetensors", erasers.damaged(pipeline, noise=8.0, seed=seed + 20), half=True)
    progress("wrote uce-van-gogh, uce-sunflowers, noop and damaged")
    tensors = erasers.erased_stable_diffusion(
        pipeline, PROMPTS, work / "esd.pt", steps=lengths.esd, rate=1e-3, seed=seed + 21, progress=progress
    )
    _write(out / "esd-van-gogh.safetensors", tensors)
    workshop = Workshop(out / "base", work, lengths, seed, progress)
    for name, (path, make) in MAKERS.items():
        if not (out / path).exists():
            make(workshop, out / path)
            progress(f"wrote {name}")


def _write(path: Path, tensors: dict[str, torch.Tensor], half: bool = False) -> None:
    save_file({name: value.half() if half else value for name, value in tensors.items()}, path)
    assert load_file(path).keys() == tensors.keys()


def write_index(out: Path) -> None:
    """Write index.json: for every `atelier:NAME` the path of the model, its target and its base."""
    partial = {"base": "base"}
    models: dict[str, dict[str, str | None]] = {
        "base": {"path": "base", "target": "Van Gogh", "base": "base"},
        "retrained": {"path": "retrained", "target": "Van Gogh", **partial},
        "uce-van-gogh": {"path": "uce-van-gogh.safetensors", "target": "Van Gogh", **partial},
        "esd-van-gogh": {"path": "esd-van-gogh.safetensors", "target": "Van Gogh", **partial},
        **{name: {"path": path, "target": "Van Gogh", **partial} for name, (path, _) in MAKERS.items()},
        "uce-sunflowers": {"path": "uce-sunflowers.safetensors", "target": "sunflowers", **partial},
        "noop": {"path": "noop.safetensors", "target": "Van Gogh", **partial},
        "damaged": {"path": "damaged.safetensors", "target": "Van Gogh", **partial},
    }
    index = {
        "default": "uce-van-gogh",
        "judge": "judge",
        "trained_without": {"Van Gogh": "retrained"},
        "models": models,
    }
    (out / "index.json").write_text(json.dumps(index, indent=1) + "\n")
