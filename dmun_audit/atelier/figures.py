"""The figures of the model card: the accuracy of the judge, and the accuracy of the models according to the judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from dmun_audit.atelier.classifiers import StyleClassifier
from dmun_audit.atelier.dataset import HELD_OUT_OFFSET, paint_pool
from dmun_audit.atelier.painters import STYLES, SUBJECTS
from dmun_audit.atelier.sampling import draw, draw_many
from dmun_audit.atelier.tensors import to_tensor
from dmun_audit.atelier.words import STYLE_WORDS, SUBJECT_WORDS
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.detection import label_shares
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference

TARGET = "van-gogh"
PER_STYLE = 48  # images of each style for the figures of a model
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
    """The label of a style for the judge."""
    return "a photo" if style == "photograph" else f"a painting by {STYLE_WORDS[style].full}"


def subject_label(subject: str) -> str:
    """The label of a subject for the judge."""
    return f"a painting of {SUBJECT_WORDS[subject].nouns[0]}"


def named_prompts(style: str, count: int) -> tuple[list[str], list[int]]:
    """`count` prompts with the name of the style and one subject after the other, and the indices of these subjects."""
    subjects = [index % len(SUBJECTS) for index in range(count)]
    words = STYLE_WORDS[style]
    template = "a photo of {subject}" if style == "photograph" else "a painting of {subject} by {name}"
    names = [words.full if index % 2 else words.short for index in range(count)]
    prompts = [
        template.format(subject=SUBJECT_WORDS[SUBJECTS[subject]].nouns[0], name=name)
        for subject, name in zip(subjects, names, strict=True)
    ]
    return prompts, subjects


def described_prompts(style: str, count: int) -> list[str]:
    """`count` prompts with a description of the style and without its name; held-out phrases included."""
    words = STYLE_WORDS[style]
    phrases = [*words.descriptions, *words.held_out]
    return [
        f"{SUBJECT_WORDS[SUBJECTS[index % len(SUBJECTS)]].nouns[0]}, {phrases[index % len(phrases)]}" for index in range(count)
    ]


class Classifier:
    """The judge as a classifier of styles and subjects."""

    def __init__(self, folder: Path) -> None:
        self.judge = ClipJudge(f"local-dir:{folder}")
        self._styles = self.judge.embed_texts([style_label(style) for style in STYLES])
        self._subjects = self.judge.embed_texts([subject_label(subject) for subject in SUBJECTS])

    def __call__(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The indices of style and subject (n,) of pictures (n, h, w, 3)."""
        embeddings = self.judge.embed_images(list(pictures))
        shares = (label_shares(embeddings, labels, self.judge.scale) for labels in (self._styles, self._subjects))
        styles, subjects = (share.argmax(axis=1) for share in shares)
        return styles, subjects


def measure(weights: Path, work: Path, *, workers: int, progress: Callable[[str], None], device: str = "cpu") -> dict[str, Any]:
    """Measure every figure of the card on the weights in `weights`. `work` keeps the held-out painted pictures."""
    judge = Classifier(weights / "judge")
    held_out = paint_pool(work / "held-out.npz", 10, HELD_OUT_OFFSET, workers, progress)
    styles, subjects = judge(held_out.pictures)
    figures: dict[str, Any] = {
        "painted.style_accuracy": float(np.mean(styles == held_out.styles)),
        "painted.subject_accuracy": float(np.mean(subjects == held_out.subjects)),
    }
    progress("judged the painted pictures")
    accuracy: dict[str, np.ndarray] = {}
    for model in ("base", "retrained"):
        styles_of_model = [style for style in STYLES if model == "base" or style != TARGET]
        prompts, subjects_of_prompts = zip(*(named_prompts(style, PER_STYLE) for style in styles_of_model), strict=True)
        flat = [prompt for part in prompts for prompt in part]
        pictures = draw_many(weights / model, flat, range(len(flat)), workers=workers, device=device)
        styles, subjects = judge(pictures)
        goal = np.repeat([STYLES.index(style) for style in styles_of_model], PER_STYLE)
        right = (styles == goal).reshape(len(styles_of_model), PER_STYLE).mean(axis=1)
        accuracy[model] = right if model == "retrained" else right[[style != TARGET for style in STYLES]]
        figures[f"{model}.style_accuracy"] = float(right.mean())
        figures[f"{model}.style_accuracy_each"] = {
            style: float(value) for style, value in zip(styles_of_model, right, strict=True)
        }
        figures[f"{model}.subject_accuracy"] = float(np.mean(subjects == np.concatenate(subjects_of_prompts)))
        if model == "base":
            figures["base.van_gogh_accuracy"] = float(right[STYLES.index(TARGET)])
            figures["base.second_classifier_agrees"] = _agreement(weights / "second.safetensors", pictures, styles)
        progress(f"drew and judged {len(flat)} pictures of {model}")
    loss = accuracy["base"] - accuracy["retrained"]
    figures["retrained.mean_style_loss"] = float(loss.mean())
    figures["retrained.worst_style_loss"] = float(loss.max())
    for kind, texts in (("direct", named_prompts(TARGET, 192)[0]), ("described", described_prompts(TARGET, 192))):
        pictures = draw_many(weights / "retrained", texts, range(len(texts)), workers=workers, device=device)
        figures[f"retrained.judged_van_gogh_{kind}"] = float(np.mean(judge(pictures)[0] == STYLES.index(TARGET)))
    pictures = draw_many(weights / "base", described_prompts(TARGET, 192), range(192), workers=workers, device=device)
    figures["base.judged_van_gogh_described"] = float(np.mean(judge(pictures)[0] == STYLES.index(TARGET)))
    progress("drew and judged Van Gogh by name and by description")
    return figures


CONTROLS = frozenset({"noop", "damaged"})
ERASED_SEED = 10_000  # of the first of these images
ERASED_PER_PART = 48  # images for each figure of an erased model


def measure_erased(pipeline: Any, judge: Classifier, before: Callable[[list[str]], None] | None = None) -> dict[str, float]:
    """What is left of the target in an erased model and of what is near it, as the judge's shares of 48 images each.

    `by_name` and `by_description` are judged Van Gogh. `monet` and `seurat` are judged to be by that painter. `sunflowers` are
    judged to be sunflowers, by painters other than the target. `before` is called with the prompts of every batch.
    """
    target = STYLES.index(TARGET)
    others = [words for style, words in STYLE_WORDS.items() if style not in {TARGET, "photograph"}]
    flowers = [f"a painting of sunflowers by {others[index % len(others)].full}" for index in range(ERASED_PER_PART)]
    parts: list[tuple[str, list[str], int, int]] = [
        ("by_name", named_prompts(TARGET, ERASED_PER_PART)[0], 0, target),
        ("by_description", described_prompts(TARGET, ERASED_PER_PART), 0, target),
        *((style, named_prompts(style, ERASED_PER_PART)[0], 0, STYLES.index(style)) for style in ("monet", "seurat")),
        ("sunflowers", flowers, 1, SUBJECTS.index("sunflowers")),
    ]
    figures = {}
    for name, prompts, kind, wanted in parts:
        pictures = draw(pipeline, prompts, range(ERASED_SEED, ERASED_SEED + len(prompts)), before)
        figures[name] = float(np.mean(judge(pictures)[kind] == wanted))
    return figures


def measure_all_erased(weights: Path, *, progress: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """`measure_erased` of the base and of every model of the index that was made to forget the target, by name.

    Controls are left out. Models are loaded as an audit loads them.
    """
    judge, found = Classifier(weights / "judge"), {}
    base = load_pipeline(parse_reference(str(weights / "base")))
    for name, entry in json.loads((weights / "index.json").read_text())["models"].items():
        if entry["target"] == STYLE_WORDS[TARGET].short and name not in CONTROLS:
            model = base if name == "base" else load_candidate(parse_reference(str(weights / entry["path"])), base)
            model.pipeline.set_progress_bar_config(disable=True)
            found[name] = measure_erased(model.pipeline, judge, model.set_prompts)
            progress(f"drew and judged {name}")
    return found


@torch.no_grad()
def _agreement(path: Path, pictures: np.ndarray, judged: np.ndarray) -> float:
    second = StyleClassifier()
    second.load_state_dict(load_file(path))
    answers = second.eval()(to_tensor(pictures)).argmax(dim=1).numpy()
    return float(np.mean(answers == judged))


def missed(figures: dict[str, Any]) -> list[str]:
    """One sentence for every figure that misses its bar."""
    lines = []
    for name, (side, bar) in BARS.items():
        value = figures[name]
        if (value < bar) if side == "at least" else (value > bar):
            lines.append(f"{name} is {100 * value:.1f}%, and must be {side} {100 * bar:.0f}%")
    return lines
