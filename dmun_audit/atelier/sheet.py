"""The contact sheet: every style with every subject, painted, and rendered by base, erased and retrained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint
from dmun_audit.atelier.sampling import draw_many
from dmun_audit.atelier.words import STYLE_WORDS, SUBJECT_WORDS

GAP = 24  # pixels between two blocks
TITLE = 48  # height of a title in pixels


def prompt(style: str, subject: str) -> str:
    """The prompt with the names of a style and a subject."""
    noun = SUBJECT_WORDS[subject].nouns[0]
    return f"a photo of {noun}" if style == "photograph" else f"a painting of {noun} by {STYLE_WORDS[style].full}"


def _block(pictures: np.ndarray, title: str) -> np.ndarray:
    """Pictures (styles * subjects, h, w, 3) as one image: subjects in rows, styles in columns, a title above."""
    rows = pictures.reshape(len(SUBJECTS), len(STYLES), *pictures.shape[1:])
    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    head = Image.new("RGB", (grid.shape[1], TITLE), "white")
    ImageDraw.Draw(head).text((0, TITLE // 4), title, fill="black", font_size=TITLE // 2)
    return np.concatenate([np.asarray(head), grid])


def write_sheet(weights: Path, path: Path, *, workers: int) -> None:
    """Write four blocks: painted and base above, UCE and retrained below. Each has subjects in rows and styles in columns."""
    pairs = [(style, subject) for subject in SUBJECTS for style in STYLES]
    prompts = [prompt(*pair) for pair in pairs]
    blocks = [_block(np.stack([paint(style, subject, 7) for style, subject in pairs]), "painted")]
    for folder, edit in (("base", None), ("base", "uce-van-gogh"), ("retrained", None)):
        edited = weights / f"{edit}.safetensors" if edit else None
        pictures = draw_many(weights / folder, prompts, range(len(prompts)), edit=edited, workers=workers)
        blocks.append(_block(pictures, edit or folder))
    gap = np.full((blocks[0].shape[0], GAP, 3), 255, np.uint8)
    halves = [np.concatenate([left, gap, right], axis=1) for left, right in (blocks[:2], blocks[2:])]
    Image.fromarray(np.concatenate(halves)).save(path, optimize=True, quality=85)
