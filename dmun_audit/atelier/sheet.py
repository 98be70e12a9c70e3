"""The contact sheet: every style by every subject, painted and drawn by base, erased and retrained, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dmun_audit.atelier import captions
from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint
from dmun_audit.atelier.sampling import draw_many

GAP = 24  # pixels between two blocks


def prompt(style: str, subject: str) -> str:
    """The prompt that names a style and a subject."""
    noun = captions.SUBJECT_WORDS[subject].nouns[0]
    return f"a photo of {noun}" if style == "photograph" else f"a painting of {noun} by {captions.STYLE_WORDS[style].full}"


def _block(pictures: np.ndarray) -> np.ndarray:
    """(styles * subjects, h, w, 3) laid out with subjects as rows and styles as columns."""
    rows = pictures.reshape(len(SUBJECTS), len(STYLES), *pictures.shape[1:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def write_sheet(weights: Path, path: Path, *, workers: int) -> None:
    """Write four blocks, painted, base, UCE and retrained, each with styles as columns and subjects as rows."""
    pairs = [(style, subject) for subject in SUBJECTS for style in STYLES]
    prompts = [prompt(*pair) for pair in pairs]
    blocks = [_block(np.stack([paint(style, subject, 7) for style, subject in pairs]))]
    for folder, edit in (("base", None), ("base", weights / "uce-van-gogh.safetensors"), ("retrained", None)):
        blocks.append(_block(draw_many(weights / folder, prompts, range(len(prompts)), edit=edit, workers=workers)))
    gap = np.full((blocks[0].shape[0], GAP, 3), 255, np.uint8)
    columns = [part for block in blocks for part in (block, gap)][:-1]
    Image.fromarray(np.concatenate(columns, axis=1)).save(path, optimize=True, quality=88)
