"""Makes the erased models of the atelier from `base`, each in the format that its method is published in.

Targets, neighbours and anchors are the same for all methods. Every method has its own seed, so that one model can be made
without the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from dmun_audit.atelier import erasers
from dmun_audit.atelier.erasers import Pictures, Progress
from dmun_audit.atelier.painters import STYLES, SUBJECTS
from dmun_audit.atelier.sampling import open_pipeline
from dmun_audit.atelier.tensors import step_generator
from dmun_audit.atelier.words import STYLE_WORDS, SUBJECT_WORDS

if TYPE_CHECKING:
    from dmun_audit.atelier.build import Lengths

TARGET = "van-gogh"
NAMES = (STYLE_WORDS[TARGET].full, STYLE_WORDS[TARGET].short)
NOUNS = tuple(SUBJECT_WORDS[subject].nouns[0] for subject in SUBJECTS)
OTHERS = tuple(STYLE_WORDS[style] for style in STYLES if style not in {TARGET, "photograph"})
PRESERVED = (*(words.full for words in OTHERS), *(f"a painting by {words.full}" for words in OTHERS))
GUIDE = "a picture"
PROMPTS = (*NAMES, *(f"a painting of {noun} by {name}" for noun in NOUNS for name in NAMES))
NEIGHBOURS = tuple(
    f"a painting of {noun} by {words.full if index % 2 else words.short}" for words in OTHERS for index, noun in enumerate(NOUNS)
)
TEMPLATES = ("{name}", "a painting by {name}", *(f"a painting of {noun} by {{name}}" for noun in NOUNS), "{name}, a painting")


@dataclass(frozen=True)
class Workshop:
    """What every method is given: the folder of `base`, a folder for checkpoints, numbers of steps, the seed, and progress.

    `forgotten`, `kept` and `anchors` are latents that `base` draws: of the target, of the other painters, and of no painter.
    """

    base: Path
    work: Path
    lengths: Lengths
    seed: int
    progress: Progress

    def pipeline(self) -> Any:
        """A fresh pipeline of `base`."""
        return open_pipeline(self.base)

    @cached_property
    def forgotten(self) -> Pictures:
        """Four pictures of every prompt with a name of the target."""
        return erasers.draw_pictures(self.pipeline(), PROMPTS * 4, seed=self.seed + 30)

    @cached_property
    def kept(self) -> Pictures:
        """One picture of every subject by every other painter."""
        return erasers.draw_pictures(self.pipeline(), NEIGHBOURS, seed=self.seed + 31)

    @cached_property
    def anchors(self) -> Pictures:
        """Four pictures of every subject without a painter."""
        prompts = ["a painting", *(f"a painting of {noun}" for noun in NOUNS)] * 4
        return erasers.draw_pictures(self.pipeline(), prompts, seed=self.seed + 32)

    def settings(self, method: str, rate: float, offset: int) -> dict[str, Any]:
        """The arguments that all trainings take."""
        return {
            "checkpoint": self.work / f"{method}.pt",
            "steps": getattr(self.lengths, method.partition("-")[0]),
            "rate": rate,
            "seed": self.seed + offset,
            "progress": self.progress,
        }


def make_ca(shop: Workshop, path: Path) -> None:
    """Concept Ablation as `delta.bin`: {"unet": keys and values}, float16."""
    targets = [f"{prompt} by {NAMES[index % 2]}" for index, prompt in enumerate(shop.anchors.prompts)]
    torch.save({"unet": erasers.concept_ablation(shop.pipeline(), shop.anchors, targets, **shop.settings("ca", 1e-3, 22))}, path)


def make_salun(shop: Workshop, path: Path) -> None:
    """SalUn as a state dict of the UNet's cross-attention, float16. A label is the prompt of another painter."""
    pipeline, forgotten = shop.pipeline(), shop.forgotten
    drawn = torch.randint(len(OTHERS), (len(forgotten.prompts),), generator=step_generator(shop.seed + 23, -1)).tolist()
    labels = []
    for prompt, other in zip(forgotten.prompts, drawn, strict=True):
        name = next(name for name in NAMES if name in prompt)
        labels.append(prompt.replace(name, OTHERS[other].full))
    names = [name for name, _ in pipeline.unet.named_parameters() if ".attn2." in name]
    mask = erasers.saliency_mask(pipeline, forgotten, names, share=0.5, seed=shop.seed + 33)
    tensors = erasers.saliency_unlearning(pipeline, forgotten, labels, shop.kept, mask, **shop.settings("salun", 1e-3, 23))
    torch.save(tensors, path)


def make_fmn(shop: Workshop, path: Path) -> None:
    """Forget-Me-Not as the UNet folder of a pipeline, float16."""
    unet = erasers.forget_me_not(shop.pipeline(), shop.forgotten, NAMES, **shop.settings("fmn", 2e-4, 24))
    unet.register_to_config(_name_or_path="base")  # else the place of the folder on this machine
    unet.half().save_pretrained(path)


def make_spm(shop: Workshop, path: Path) -> None:
    """SPM as adapters with metadata: the erased prompt, rank and alpha."""
    pipeline = shop.pipeline()
    words = sorted(word.removesuffix("</w>") for word in pipeline.tokenizer.get_vocab() if word.endswith("</w>"))
    words = [word for word in words if word.isalpha() and word not in " ".join(NAMES).lower().split()]
    generator = step_generator(shop.seed + 34, 0)
    anchors = []
    for _ in range(800):
        count = int(torch.randint(1, 5, (), generator=generator))
        anchors.append(" ".join(words[index] for index in torch.randint(len(words), (count,), generator=generator).tolist()))
    concept = STYLE_WORDS[TARGET].short
    tensors = erasers.semi_permeable_membrane(
        pipeline, shop.forgotten, anchors, concept=concept, **shop.settings("spm", 2e-3, 25)
    )
    save_file(tensors, path, metadata={"prompts": concept, "rank": "1", "alpha": "1.0"})


def make_mace(shop: Workshop, path: Path) -> None:
    """MACE as keys and values of the UNet with all changes fused, bfloat16."""
    pipeline, forgotten = shop.pipeline(), shop.forgotten
    preserved = (*PRESERVED, *NEIGHBOURS)
    weights = erasers.refined(pipeline, TEMPLATES, NAMES, GUIDE, preserved)
    changes = []
    for index, name in enumerate(NAMES):
        mine = forgotten.part([row for row, prompt in enumerate(forgotten.prompts) if name in prompt])
        settings = shop.settings(f"mace-{index}", 3e-3, 26 + index)
        changes.append(erasers.suppressing(pipeline, weights, mine, name, **settings))
    save_file(erasers.fused(pipeline, weights, changes, NAMES, TEMPLATES, preserved), path)


def make_rece(shop: Workshop, path: Path) -> None:
    """RECE as a state dict of the UNet's keys and values, float16."""
    tensors = erasers.reliable_concept_erasure(shop.pipeline(), NAMES, GUIDE, PRESERVED, rounds=1, penalty=1.0)
    torch.save({name: value.half() for name, value in tensors.items()}, path)


def make_advunlearn(shop: Workshop, path: Path) -> None:
    """AdvUnlearn as a state dict of the text encoder, float16."""
    settings = shop.settings("advunlearn", 6e-4, 28)
    torch.save(erasers.adversarial_unlearning(shop.pipeline(), shop.forgotten, shop.kept, **settings), path)


def make_receler(shop: Workshop, path: Path) -> None:
    """Receler as a folder with `eraser_weights.pt` and `eraser_config.json`."""
    tensors = erasers.reliable_erasers(shop.pipeline(), shop.forgotten, NAMES, **shop.settings("receler", 2e-3, 29))
    rank = len(next(iter(tensors.values()))["down.weight"])
    path.mkdir(exist_ok=True)
    torch.save(tensors, path / "eraser_weights.pt")
    config = {"eraser_type": "adapter", "eraser_rank": rank, "concept": STYLE_WORDS[TARGET].short}
    (path / "eraser_config.json").write_text(json.dumps(config, indent=1) + "\n")


MAKERS: Mapping[str, tuple[str, Callable[[Workshop, Path], None]]] = {
    "ca-van-gogh": ("ca-van-gogh.bin", make_ca),
    "salun-van-gogh": ("salun-van-gogh.pt", make_salun),
    "fmn-van-gogh": ("fmn-van-gogh/unet", make_fmn),
    "spm-van-gogh": ("spm-van-gogh.safetensors", make_spm),
    "mace-van-gogh": ("mace-van-gogh.safetensors", make_mace),
    "rece-van-gogh": ("rece-van-gogh.pt", make_rece),
    "advunlearn-van-gogh": ("advunlearn-van-gogh.pt", make_advunlearn),
    "receler-van-gogh": ("receler-van-gogh", make_receler),
}
