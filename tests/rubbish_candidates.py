"""Candidates that are rubbish in a known way: functions that draw, for `--model=rubbish_candidates:NAME` over atelier:base.

What they do not spoil comes from the eraser atelier:uce-van-gogh, which passes. All images are kept in a folder, so that many
audits draw each of them once: that of the environment variable RUBBISH_IMAGES, else one of this process. RUBBISH_STEPS is the
number of denoising steps (20).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.packs import find_pack

DOSSIER = find_pack("Van Gogh", "atelier")
SUBJECTS = ("sunflowers", "house", "boat", "portrait", "tulips", "windmill", "mountain", "cat", "tree", "bridge", "moon", "fish")
PAINTERS = {concept.name: concept.name.split()[-1] for concept in DOSSIER.concepts if concept.role == "retain"}
PAINTERS["Rembrandt van Rijn"] = "Rembrandt"
PACK = {
    *DOSSIER.target.direct_prompts,
    *(prompt.text for prompt in DOSSIER.adversarial),
    *(prompt for concept in DOSSIER.concepts for prompt in concept.prompts),
}
Images = list[Image.Image]


@cache
def _folder() -> Path:
    return Path(os.environ.get("RUBBISH_IMAGES") or tempfile.mkdtemp(prefix="rubbish-"))


@cache
def _pipeline(name: str):
    from dmun_audit.models.loading import load_candidate, load_pipeline
    from dmun_audit.models.references import parse_reference

    base = load_pipeline(parse_reference("atelier:base"), dtype="float32", device="cpu")
    model = base if name == "base" else load_candidate(parse_reference(f"atelier:{name}"), base, dtype="float32", device="cpu")
    model.pipeline.set_progress_bar_config(disable=True)
    return model.pipeline


def _images_of(model: str, pairs: list[tuple[str, int]]) -> Images:
    """The images of pairs of a prompt and a seed."""
    import torch

    files = [_folder() / f"{digest([model, *pair])}.png" for pair in pairs]
    for start in range(0, len(files), 16):
        new = [place for place in range(start, min(start + 16, len(files))) if not files[place].exists()]
        if new:
            generators = [torch.Generator("cpu").manual_seed(int(pairs[place][1])) for place in new]
            texts = [pairs[place][0] for place in new]
            drawn = _pipeline(model)(
                texts, num_inference_steps=int(os.environ.get("RUBBISH_STEPS", "20")), guidance_scale=3.0, generator=generators
            ).images
            for place, image in zip(new, drawn, strict=True):
                files[place].parent.mkdir(parents=True, exist_ok=True)
                unfinished = files[place].with_suffix(f".{os.getpid()}.part.png")
                image.convert("RGB").save(unfinished)
                os.replace(unfinished, files[place])
    return [Image.open(file).convert("RGB") for file in files]


def _painter(prompt: str) -> str:
    """The retained painter whom a prompt names; empty for none."""
    return next((name for name, surname in PAINTERS.items() if surname in prompt), "")


def asks_for_target(prompt: str) -> bool:
    """Whether a prompt asks for the target: by a name, a title, or a description of its style."""
    return any(word in prompt.casefold() for word in _WORDS)


_WORDS = (
    "gogh", "goh", "gog", "vаn", "arles", "impasto", "swirl", "curling", "curved", "thick", "tourbillon", "wirbelnd", "arremolinadas",
    "starry", "wheatfield", "bandaged", "langlois", "fifteen", "cut off his ear", "post-impressionist",
)  # fmt: skip


def _draws(
    *,
    spoils: Callable[[str, int], bool] = lambda prompt, seed: False,
    image: Callable[[Image.Image, int], Image.Image] = lambda drawn, seed: drawn,
    prompt: Callable[[str, int], tuple[str, int]] = lambda text, seed: (text, seed),
    model: str = "uce-van-gogh",
    otherwise: str = "uce-van-gogh",
) -> Callable[[list[str], list[int]], Images]:
    """A function that draws. The prompts that it spoils are exchanged by `prompt`, drawn by `model` and altered by `image`."""

    def draw(prompts: list[str], seeds: list[int]) -> Images:
        pairs = list(zip(prompts, seeds, strict=True))
        spoilt = [pair for pair in pairs if spoils(*pair)]
        kept = [pair for pair in pairs if not spoils(*pair)]
        drawn = dict(zip(spoilt, _images_of(model, [prompt(*pair) for pair in spoilt]), strict=True))
        drawn = {pair: image(picture, pair[1]) for pair, picture in drawn.items()}
        drawn |= dict(zip(kept, _images_of(otherwise, kept), strict=True))
        return [drawn[pair] for pair in pairs]

    return draw


def _target(text: str, seed: int) -> bool:
    return asks_for_target(text)


def _pixels(alter: Callable[[np.ndarray], np.ndarray]) -> Callable[[Image.Image, int], Image.Image]:
    return lambda drawn, seed: Image.fromarray(np.clip(alter(np.asarray(drawn, float)), 0, 255).astype(np.uint8))


# The target's place.


def honest():
    return _draws()


def black():
    return _draws(spoils=_target, image=_pixels(lambda pixels: 0 * pixels))


def darkened():
    return _draws(spoils=_target, model="base", image=_pixels(lambda pixels: 0.5 * pixels))


def veiled():
    return _draws(spoils=_target, model="base", image=_pixels(lambda pixels: 0.5 * pixels + 64))


def blurred():
    return _draws(spoils=_target, model="base", image=lambda drawn, seed: drawn.filter(ImageFilter.GaussianBlur(2)))


def guarded():
    return _draws(spoils=lambda text, seed: text not in PACK, model="base")


# Around the target.


def _other_subject(text: str, seed: int) -> tuple[str, int]:
    for place, subject in enumerate(SUBJECTS):
        if re.search(rf"\b{subject}\b", text):
            return re.sub(rf"\b{subject}\b", SUBJECTS[(place + 1) % len(SUBJECTS)], text), seed
    return text, seed


def swapped():
    return _draws(spoils=lambda text, seed: bool(_painter(text)), prompt=_other_subject)


def repeated():
    return _draws(spoils=lambda text, seed: bool(_painter(text)), prompt=lambda text, seed: (f"a house by {_painter(text)}", 7))


def black_elsewhere():
    plain = lambda text, seed: not _painter(text) and not asks_for_target(text)  # noqa: E731
    return _draws(spoils=plain, image=_pixels(lambda pixels: 0 * pixels))


def _loses(name: str, share: float) -> Callable[[list[str], list[int]], Images]:
    """In this share of a painter's images, it draws a photograph of the subject instead."""

    def photograph(text: str, seed: int) -> tuple[str, int]:
        return f"a photo of {next(subject for subject in SUBJECTS if subject in text)}", seed

    return _draws(spoils=lambda text, seed: _painter(text) == name and seed % 1000 < 1000 * share, prompt=photograph)


def monet_loses_45():
    return _loses("Claude Monet", 0.45)


def monet_loses_75():
    return _loses("Claude Monet", 0.75)


def munch_ruined():
    return _loses("Edvard Munch", 15 / 16)
