"""Trains the judge of the atelier, and the second classifier of style that checks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dmun_audit.atelier import captions, networks
from dmun_audit.atelier.dataset import Pool
from dmun_audit.atelier.loop import train
from dmun_audit.atelier.painters import STYLES, SUBJECTS
from dmun_audit.atelier.tensors import augment, step_generator, to_tensor
from dmun_audit.atelier.words import MOVEMENTS, PARENTS, STYLE_WORDS, SUBJECT_WORDS

Progress = Callable[[str], None]


def train_judge(
    pool: Pool, tokenizer: Any, folder: Path, out: Path, *, steps: int, seed: int, progress: Progress, device: str = "cpu"
) -> None:
    """Train the judge on painted pictures and captions, and write an open_clip folder to `out`.

    A batch contains every pair of style and subject once, so all its captions differ. The loss is a sum of contrastive
    losses: pictures against captions of style and subject, of the style, of the subject, of the movement, and of the
    category of the subject.
    """
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    configuration = networks.judge_configuration(len(tokenizer))
    network = open_clip.model.CLIP(**configuration["model_cfg"])
    by_pair = [
        np.flatnonzero((pool.styles == style) & (pool.subjects == subject))
        for style in range(len(STYLES))
        for subject in range(len(SUBJECTS))
    ]
    mean, deviation = 0.5, 0.25
    movements = np.array([MOVEMENTS.index(STYLE_WORDS[style].movement) for style in STYLES])
    parents = np.array([PARENTS.index(SUBJECT_WORDS[subject].parent) for subject in SUBJECTS])

    def texts(lines: list[str]) -> torch.Tensor:
        tokens = tokenizer(lines, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
        return network.encode_text(tokens, normalize=True)

    def loss_of(step: int) -> torch.Tensor:
        drawn = np.random.default_rng((seed, step))
        chosen = np.array([rows[drawn.integers(len(rows))] for rows in by_pair])
        picture = (to_tensor(pool.pictures[chosen]) + 1) / 2
        picture = augment(picture, step_generator(seed, step)).to(device)
        embeddings = network.encode_image((picture - mean) / deviation, normalize=True)
        scale = network.logit_scale.exp().clamp(max=100)
        pairs = [(STYLES[pool.styles[i]], SUBJECTS[pool.subjects[i]]) for i in chosen]
        both = [captions.named(*p, drawn) if drawn.random() < 0.6 else captions.described(*p, drawn) for p in pairs]
        logits = scale * embeddings @ texts(both).T
        target = torch.arange(len(pairs), device=device)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        for lines, target in (
            ([captions.style_only(style, drawn) for style in STYLES], pool.styles[chosen]),
            ([captions.subject_only(subject, drawn) for subject in SUBJECTS], pool.subjects[chosen]),
            ([f"a {movement} painting" for movement in MOVEMENTS], movements[pool.styles[chosen]]),
            ([f"a painting of {parent}" for parent in PARENTS], parents[pool.subjects[chosen]]),
        ):
            loss = loss + F.cross_entropy(scale * embeddings @ texts(lines).T, torch.from_numpy(target).to(device))
        return loss

    checkpoint = folder / "judge.pt"
    average = train(
        "judge", network, loss_of, steps=steps, rate=2e-3, checkpoint=checkpoint, progress=progress, decay=0.99, device=device
    )
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    (out / "open_clip_config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    weights = {key: value.half() if value.is_floating_point() else value for key, value in average.state_dict().items()}
    save_file({key: value.contiguous() for key, value in weights.items()}, out / "open_clip_model.safetensors")


class StyleClassifier(nn.Module):
    """A convolutional classifier of style that checks the judge: pictures (n, 3, 64, 64) in [-1, 1] to logits (n, styles)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for channels in (16, 32, 48, 64):
            layers += [nn.Conv2d(width, channels, 5, stride=2, padding=2), nn.BatchNorm2d(channels), nn.ReLU()]
            width = channels
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width, len(STYLES))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pictures).mean(dim=(2, 3)))

    def textures(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Gram matrices (n, windows, c, c) of the first three layers, over 4 by 4 windows of each picture."""
        grams, values = [], pictures
        for depth, layer in enumerate(list(self.features)[:9]):
            values = layer(values)
            if depth % 3 == 2:
                count, channels, side, _ = values.shape
                windows = values.unfold(2, side // 4, side // 4).unfold(3, side // 4, side // 4)
                flat = windows.permute(0, 2, 3, 1, 4, 5).reshape(count, 16, channels, -1)
                grams.append(flat @ flat.transpose(2, 3) / flat.shape[-1])
        return grams


def train_style_classifier(
    pool: Pool, checkpoint: Path, *, steps: int, seed: int, progress: Progress, device: str = "cpu"
) -> StyleClassifier:
    """Train a classifier of style on painted pictures; its architecture, loss and seed are not the judge's."""
    torch.manual_seed(seed)
    network = StyleClassifier()

    def loss_of(step: int) -> torch.Tensor:
        generator = step_generator(seed, step)
        chosen = torch.randint(len(pool.pictures), (96,), generator=generator).numpy()
        picture = augment((to_tensor(pool.pictures[chosen]) + 1) / 2, generator) * 2 - 1
        styles = torch.from_numpy(pool.styles[chosen]).to(device)
        return F.cross_entropy(network(picture.to(device)), styles, label_smoothing=0.05)

    name = f"{checkpoint.stem} classifier"
    average = train(
        name, network, loss_of, steps=steps, rate=3e-3, checkpoint=checkpoint, progress=progress, decay=0.99, device=device
    )
    return average.eval()
