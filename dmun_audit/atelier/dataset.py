"""Painted pictures as arrays: a training pool and a disjoint held-out pool, painted once and kept in the work folder."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmun_audit.atelier.painters import STYLES, SUBJECTS, paint

HELD_OUT_OFFSET = 1_000_000  # first seed of the held-out pictures, far above the seeds for training


@dataclass(frozen=True)
class Pool:
    """Pictures (n, size, size, 3) uint8 with the indices of their styles and subjects, each (n,)."""

    pictures: np.ndarray
    styles: np.ndarray
    subjects: np.ndarray

    def without_style(self, style: str) -> Pool:
        """The pool without the pictures in `style`."""
        keep = self.styles != STYLES.index(style)
        return Pool(self.pictures[keep], self.styles[keep], self.subjects[keep])


def _paint_pair(job: tuple[str, str, int, int]) -> np.ndarray:
    style, subject, first, count = job
    return np.stack([paint(style, subject, first + index) for index in range(count)])


def paint_pool(path: Path, per_pair: int, first_seed: int, workers: int, progress: Callable[[str], None]) -> Pool:
    """Paint `per_pair` pictures of every style with every subject, or read them from `path` (.npz) if it exists.

    The seeds of each pair start at `first_seed`, so pools with disjoint ranges of seeds are disjoint.
    """
    if not path.exists():
        jobs = [(style, subject, first_seed, per_pair) for style in STYLES for subject in SUBJECTS]
        parts = []
        with ProcessPoolExecutor(workers) as executor:
            for done, part in enumerate(executor.map(_paint_pair, jobs), 1):
                parts.append(part)
                if done % len(SUBJECTS) == 0:
                    progress(f"painted {done * per_pair:,} of {len(jobs) * per_pair:,} pictures")
        styles = np.repeat(np.arange(len(STYLES)), len(SUBJECTS) * per_pair)
        subjects = np.tile(np.repeat(np.arange(len(SUBJECTS)), per_pair), len(STYLES))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, pictures=np.concatenate(parts), styles=styles, subjects=subjects)
        partial.replace(path)
    with np.load(path) as stored:
        return Pool(stored["pictures"], stored["styles"], stored["subjects"])
