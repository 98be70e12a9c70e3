"""The figures of the model card: how well the judge judges, and how well the models paint, by the judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from dmun_audit.atelier import captions
from dmun_audit.atelier.dataset import HELD_OUT_OFFSET, paint_pool
from dmun_audit.atelier.painters import STYLES, SUBJECTS
from dmun_audit.atelier.sampling import draw_many
from dmun_audit.atelier.training import StyleClassifier, to_tensor
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.detection import label_shares

TARGET = "van-gogh"
PER_STYLE = 48  # images of every style in the figures of a model
BARS: dict[str, tuple[str, float]] = {
    "painted.style_accuracy": ("at least", 0.97),
    "base.style_accuracy": ("at least", 0.90),
    "base.van_gogh_accuracy": ("at least", 0.90),
    "base.subject_accuracy": ("at least", 0.80),
    "base.second_classifier_agrees": ("at least", 0.90),
    "retrained.mean_style_loss": ("at most", 0.02),
    "retrained.worst_style_loss": ("at most", 0.05),
    "retrained.judged_van_gogh_direct": ("at most", 0.01),
    "retrained.judged_van_gogh_described": ("at most", 0.01),
}


def style_label(style: str) -> str:
    """The sentence by which the judge knows a style."""
    return "a photo" if style == "photograph" else f"a painting by {captions.STYLE_WORDS[style].full}"


def subject_label(subject: str) -> str:
    """The sentence by which the judge knows a subject."""
    return f"a painting of {captions.SUBJECT_WORDS[subject].nouns[0]}"


def named_prompts(style: str, count: int) -> tuple[list[str], list[int]]:
    """`count` prompts that name the style, subjects in turn, and the index of each one's subject."""
    subjects = [index % len(SUBJECTS) for index in range(count)]
    words = captions.STYLE_WORDS[style]
    template = "a photo of {subject}" if style == "photograph" else "a painting of {subject} by {name}"
    names = [words.full if index % 2 else words.short for index in range(count)]
    prompts = [
        template.format(subject=captions.SUBJECT_WORDS[SUBJECTS[subject]].nouns[0], name=name)
        for subject, name in zip(subjects, names, strict=True)
    ]
    return prompts, subjects


def described_prompts(style: str, count: int) -> list[str]:
    """`count` prompts that describe the style without its name, held-out phrasings included."""
    words = captions.STYLE_WORDS[style]
    phrases = [*words.descriptions, *words.held_out]
    return [
        f"{captions.SUBJECT_WORDS[SUBJECTS[index % len(SUBJECTS)]].nouns[0]}, {phrases[index % len(phrases)]}"
        for index in range(count)
    ]


class Classifier:
    """The judge as a classifier of styles and subjects."""

    def __init__(self, folder: Path) -> None:
        self.judge = ClipJudge(f"local-dir:{folder}")
        self._styles = self.judge.embed_texts([style_label(style) for style in STYLES])
        self._subjects = self.judge.embed_texts([subject_label(subject) for subject in SUBJECTS])

    def __call__(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of style and subject of pictures (n, h, w, 3), each (n,)."""
        seen = self.judge.embed_images(list(pictures))
        shares = (label_shares(seen, labels, self.judge.scale) for labels in (self._styles, self._subjects))
        styles, subjects = (share.argmax(axis=1) for share in shares)
        return styles, subjects


def measure(weights: Path, work: Path, *, workers: int, tell: Callable[[str], None], device: str = "cpu") -> dict[str, Any]:
    """Every figure of the card, from the weights in `weights`; `work` holds the held-out painted pictures."""
    judge = Classifier(weights / "judge")
    held = paint_pool(work / "held-out.npz", 10, HELD_OUT_OFFSET, workers, tell)
    styles, subjects = judge(held.pictures)
    figures: dict[str, Any] = {
        "painted.style_accuracy": float(np.mean(styles == held.styles)),
        "painted.subject_accuracy": float(np.mean(subjects == held.subjects)),
    }
    tell("judged the painted pictures")
    accuracy: dict[str, np.ndarray] = {}
    for model in ("base", "retrained"):
        asked = [style for style in STYLES if model == "base" or style != TARGET]
        prompts, wanted = zip(*(named_prompts(style, PER_STYLE) for style in asked), strict=True)
        flat = [prompt for part in prompts for prompt in part]
        pictures = draw_many(weights / model, flat, range(len(flat)), workers=workers, device=device)
        styles, subjects = judge(pictures)
        goal = np.repeat([STYLES.index(style) for style in asked], PER_STYLE)
        right = (styles == goal).reshape(len(asked), PER_STYLE).mean(axis=1)
        accuracy[model] = right if model == "retrained" else right[[style != TARGET for style in STYLES]]
        figures[f"{model}.style_accuracy"] = float(right.mean())
        figures[f"{model}.style_accuracy_each"] = {style: float(value) for style, value in zip(asked, right, strict=True)}
        figures[f"{model}.subject_accuracy"] = float(np.mean(subjects == np.concatenate(wanted)))
        if model == "base":
            figures["base.van_gogh_accuracy"] = float(right[STYLES.index(TARGET)])
            figures["base.second_classifier_agrees"] = _agreement(weights / "second.safetensors", pictures, styles)
        tell(f"drew and judged {len(flat)} pictures of {model}")
    loss = accuracy["base"] - accuracy["retrained"]
    figures["retrained.mean_style_loss"] = float(loss.mean())
    figures["retrained.worst_style_loss"] = float(loss.max())
    for kind, texts in (("direct", named_prompts(TARGET, 192)[0]), ("described", described_prompts(TARGET, 192))):
        pictures = draw_many(weights / "retrained", texts, range(len(texts)), workers=workers, device=device)
        figures[f"retrained.judged_van_gogh_{kind}"] = float(np.mean(judge(pictures)[0] == STYLES.index(TARGET)))
    pictures = draw_many(weights / "base", described_prompts(TARGET, 192), range(192), workers=workers, device=device)
    figures["base.judged_van_gogh_described"] = float(np.mean(judge(pictures)[0] == STYLES.index(TARGET)))
    tell("drew and judged Van Gogh by name and by description")
    return figures


@torch.no_grad()
def _agreement(path: Path, pictures: np.ndarray, judged: np.ndarray) -> float:
    second = StyleClassifier()
    second.load_state_dict(load_file(path))
    found = second.eval()(to_tensor(pictures)).argmax(dim=1).numpy()
    return float(np.mean(found == judged))


def missed(figures: dict[str, Any]) -> list[str]:
    """The bars that the figures do not clear, as sentences."""
    lines = []
    for name, (way, bar) in BARS.items():
        value = figures[name]
        if (value < bar) if way == "at least" else (value > bar):
            lines.append(f"{name} is {100 * value:.1f}%, {way} {100 * bar:.0f}% is wanted")
    return lines
