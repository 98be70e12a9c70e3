"""Whether two tensors differ by rounding alone: one is the other in half precision.

A training that did nothing and was saved in half precision changes nearly every number, and yet it is no edit. The numbers show
it: each is the other model's number, rounded. So no header is needed, and a pipeline in memory is seen through too.
"""

from __future__ import annotations

import torch

Way = tuple[torch.dtype, ...]

HALF = (torch.bfloat16, torch.float16)
WAYS = ((torch.bfloat16,), (torch.float16,), (torch.bfloat16, torch.float16), (torch.float16, torch.bfloat16))
OTHER = {torch.bfloat16: (torch.float16,), torch.float16: (torch.bfloat16,)}
FIRST = 4096  # numbers that are looked at before all others


def rounded_type(rounded: torch.Tensor, exact: torch.Tensor) -> str:
    """The half precision ("bfloat16", "float16") in which `rounded` is `exact`; "" if neither is. The shapes are the same.

    Numbers may have been rounded twice: trained in one half precision and saved in the other.
    """
    if not rounded.is_floating_point() or not exact.is_floating_point():
        return ""
    loaded = rounded.dtype
    one, other = (tensor.detach().to("cpu", torch.float32).reshape(-1) for tensor in (rounded, exact))
    for way in WAYS:
        if _is_rounded(one, other, way, inclusive=loaded in HALF and way == OTHER[loaded]):
            return str(way[-1]).removeprefix("torch.")
    return ""


def least_change(half: str) -> float:
    """The least relative change that rounding makes: its root mean square is eps/7 to eps/3.5 of the numbers' own."""
    return torch.finfo(getattr(torch, half)).eps / 8


def _is_rounded(rounded: torch.Tensor, exact: torch.Tensor, way: Way, inclusive: bool) -> bool:
    """Whether every number of `rounded` is that of `exact`, rounded in this way. Where `inclusive`, halfway numbers may go either way.

    (A network that is loaded in the other half precision was rounded twice, so that its halfway numbers say nothing.)
    """
    return all(_all_rounded(rounded[part], exact[part], way, inclusive) for part in (slice(FIRST), slice(FIRST, None)))


def _all_rounded(rounded: torch.Tensor, exact: torch.Tensor, way: Way, inclusive: bool) -> bool:
    nearest = exact
    for half in way:
        nearest = nearest.to(half).float()
    if not inclusive:
        return torch.equal(rounded, nearest)
    other_neighbour = nearest + 2 * (exact - nearest)
    on_grid = rounded.to(way[-1]).float() == rounded
    return bool((on_grid & ((rounded == nearest) | (rounded == other_neighbour))).all())
