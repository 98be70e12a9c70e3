"""Batches of a fixed size: what a network computes for an image can depend on the size of its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BATCH_SIZE = 32  # images or texts of a CLIP model


def encode_in_batches(encode: Callable[[list[Any]], Any], items: Sequence[Any], size: int) -> np.ndarray:
    """Rows (n, …) float32 of n ≥ 1 items, encoded in batches of exactly `size`.

    `encode` turns a list of `size` items into a tensor with one row for each. The last batch is padded with its last item,
    and the rows of the padding are dropped.
    """
    import torch

    rows = []
    with torch.inference_mode():
        for start in range(0, len(items), size):
            batch = list(items[start : start + size])
            padded = [*batch, *[batch[-1]] * (size - len(batch))]
            rows.append(encode(padded).float().cpu().numpy()[: len(batch)])
    return np.concatenate(rows)
