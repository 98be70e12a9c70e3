"""Batches of a fixed size, so that what a network says of an image does not depend on what shares its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def in_slots(encode: Callable[[list[Any]], Any], things: Sequence[Any], slots: int) -> np.ndarray:
    """`encode` (a list of `slots` things to a tensor with a row for each) over all `things`: rows (n, …), float32.

    The last batch is filled up with its last thing.
    """
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, len(things), slots):
            chunk = list(things[start : start + slots])
            padded = [*chunk, *[chunk[-1]] * (slots - len(chunk))]
            parts.append(encode(padded).float().cpu().numpy()[: len(chunk)])
    return np.concatenate(parts)
