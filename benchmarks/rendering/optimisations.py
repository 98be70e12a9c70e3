"""Ways of making a pipeline faster on a GPU, each on its own and all together. Each changes the pipeline that it gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def denoiser(pipeline: Any) -> Any:
    """The network that removes the noise."""
    return getattr(pipeline, "unet", None) or pipeline.transformer


def channels_last(pipeline: Any) -> None:
    """Convolutions read the channels of a pixel side by side."""
    for network in (denoiser(pipeline), pipeline.vae):
        network.to(memory_format=torch.channels_last)


def fused_projections(pipeline: Any) -> None:
    """Queries, keys and values come from one product of matrices."""
    denoiser(pipeline).fuse_qkv_projections()


def compiled_regions(pipeline: Any) -> None:
    """The repeated blocks of the denoiser are compiled, each kind once."""
    denoiser(pipeline).compile_repeated_blocks(fullgraph=True)


def compiled_denoiser(pipeline: Any) -> None:
    """The whole denoiser is compiled."""
    denoiser(pipeline).compile(fullgraph=True)


def compiled_decoder(pipeline: Any) -> None:
    """The decoder of the autoencoder is compiled."""
    pipeline.vae.decoder.compile(fullgraph=True)


def all_together(pipeline: Any) -> None:
    """Channels last, fused projections, the whole denoiser and the decoder compiled."""
    channels_last(pipeline)
    fused_projections(pipeline)
    compiled_denoiser(pipeline)
    compiled_decoder(pipeline)


OPTIMISATIONS: dict[str, Callable[[Any], None]] = {
    "channels last": channels_last,
    "fused projections": fused_projections,
    "compiled regions": compiled_regions,
    "compiled denoiser": compiled_denoiser,
    "compiled decoder": compiled_decoder,
    "all together": all_together,
}
