"""Ways of making a pipeline faster that the product leaves out, on top of its level "layout". Each changes the pipeline that it gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dmun_audit.render.defaults import denoiser


def fused_projections(pipeline: Any) -> None:
    """Queries, keys and values come from one product of matrices."""
    denoiser(pipeline).fuse_qkv_projections()


def compiled_denoiser(pipeline: Any) -> None:
    """The whole denoiser and the decoder are compiled."""
    denoiser(pipeline).compile(fullgraph=True)
    pipeline.vae.decoder.compile(fullgraph=True)


def fused_and_compiled(pipeline: Any) -> None:
    """Fused projections, and the whole denoiser and the decoder compiled."""
    fused_projections(pipeline)
    compiled_denoiser(pipeline)


def graphs(pipeline: Any) -> None:
    """The whole denoiser is compiled, and its kernels are launched as one CUDA graph."""
    denoiser(pipeline).compile(fullgraph=True, mode="reduce-overhead")


def tuned(pipeline: Any) -> None:
    """The whole denoiser is compiled with the fastest kernels that a search finds, and launched as one CUDA graph."""
    denoiser(pipeline).compile(fullgraph=True, mode="max-autotune")


VARIANTS: dict[str, Callable[[Any], None]] = {
    "fused projections": fused_projections,
    "whole denoiser compiled": compiled_denoiser,
    "fused and compiled": fused_and_compiled,
    "CUDA graphs": graphs,
    "tuned kernels": tuned,
}
