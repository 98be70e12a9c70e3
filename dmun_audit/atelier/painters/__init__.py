"""Procedural painters: each subject is drawn as a scene, and each scene is painted in one of twelve styles."""

from __future__ import annotations

import hashlib

import numpy as np

from dmun_audit.atelier.painters.scenes import SUBJECTS, draw_scene
from dmun_audit.atelier.painters.styles import STYLES, render

__all__ = ["STYLES", "SUBJECTS", "paint"]


def paint(style: str, subject: str, seed: int, size: int = 64) -> np.ndarray:
    """One picture (size, size, 3), uint8. The same arguments give the same picture in every process.

    Raises ValueError for a style or subject that is not in STYLES or SUBJECTS, and for a size that is no multiple of 8.
    """
    for what, name, known in (("style", style, STYLES), ("subject", subject, SUBJECTS)):
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; known: {', '.join(known)}")
    if size < 8 or size % 8:
        raise ValueError(f"size {size} is no multiple of 8")
    entropy = hashlib.sha256(f"{style}/{subject}/{seed}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(entropy, np.uint32))
    picture = render(style, draw_scene(subject, rng, 2 * size), rng)
    halved = picture.reshape(size, 2, size, 2, 3).mean((1, 3))
    return (halved * 255 + 0.5).astype(np.uint8)
