"""Steps, guidance and size as the pipeline itself states them, for policies that leave them to the model."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.models.model_card import card_metadata

STEPS, GUIDANCE = 50, 7.5  # Stable Diffusion's, for a pipeline whose signature names none


def default_steps(pipeline: Any) -> int:
    """The steps of the model card (`inference: parameters: num_inference_steps`), else of the pipeline's signature."""
    return max(1, int(_stated(pipeline, "num_inference_steps", STEPS)))


def default_guidance(pipeline: Any) -> float:
    """The guidance scale of the model card (`inference: parameters: guidance_scale`), else of the pipeline's signature."""
    return float(_stated(pipeline, "guidance_scale", GUIDANCE))


def image_size(pipeline: Any) -> tuple[int, int]:
    """The pipeline's own (height, width) in pixels: the size of its latents, times the factor of its autoencoder.

    Raises UsageError where neither the pipeline nor its denoiser states a size.
    """
    side = getattr(pipeline, "default_sample_size", None) or denoiser(pipeline).config.get("sample_size")
    if not side:
        raise UsageError(
            f"{type(pipeline).__name__} does not say how large its images are",
            "the configuration of its denoiser has no sample_size",
            "set sampling.size in the policy",
        )
    height, width = (side, side) if isinstance(side, int) else side
    return int(height * pipeline.vae_scale_factor), int(width * pipeline.vae_scale_factor)


def check_size(pipeline: Any, size: tuple[int, int]) -> None:
    """Raise UsageError where the pipeline cannot draw images of `size`, (height, width) in pixels."""
    grid = _grid(pipeline)
    if any(side % grid for side in size):
        raise UsageError(
            f"{type(pipeline).__name__} cannot draw images of {size[0]} by {size[1]} pixels",
            f"its sides are multiples of {grid}",
            f"set sampling.size to {max(grid, round(min(size) / grid) * grid)} in the policy, for instance",
        )
    most = denoiser(pipeline).config.get("pos_embed_max_size")
    if most and max(size) > most * grid:
        raise UsageError(
            f"{type(pipeline).__name__} cannot draw images of {size[0]} by {size[1]} pixels",
            f"it has positions for {most * grid} at most",
            "lower sampling.size in the policy",
        )


def denoiser(pipeline: Any) -> Any:
    """The network that removes the noise: the pipeline's `unet` or `transformer`. Raises UsageError where it has neither."""
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if network is None:
        raise UsageError(f"{type(pipeline).__name__} has neither a unet nor a transformer", "", "name a text-to-image pipeline")
    return network


def call_defaults(pipeline: Any) -> dict[str, Any]:
    """The parameters of the pipeline's `__call__` with their defaults."""
    return {name: parameter.default for name, parameter in inspect.signature(pipeline.__call__).parameters.items()}


def _grid(pipeline: Any) -> int:
    """Every side of an image is a multiple of this number of pixels: the autoencoder's factor times the side of a patch.

    The factor of the image processor includes the packing of latents (FLUX: 2 by 2). The pipelines of Stable Diffusion and PixArt
    need multiples of 8 with any autoencoder.
    """
    factor = getattr(getattr(pipeline, "image_processor", None), "config", {}).get("vae_scale_factor", pipeline.vae_scale_factor)
    patch = denoiser(pipeline).config.get("patch_size") or 1
    return math.lcm(8, int(factor * (patch if isinstance(patch, int) else max(patch))))


def stated_in_card(folder: Path) -> dict[str, float]:
    """The numbers in the model card of a folder (`inference: parameters`), by name; empty where there are none."""
    inference = card_metadata(folder / "README.md").get("inference")
    parameters = inference.get("parameters") if isinstance(inference, dict) else None
    return {name: value for name, value in parameters.items() if _is_number(value)} if isinstance(parameters, dict) else {}


def _stated(pipeline: Any, name: str, otherwise: float) -> float:
    card = stated_in_card(Path(str(getattr(pipeline, "name_or_path", ""))))
    stated = (card.get(name), call_defaults(pipeline).get(name))
    return next((value for value in stated if value is not None and _is_number(value)), otherwise)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
