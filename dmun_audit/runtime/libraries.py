"""Imports the large libraries of an audit all at once."""

from __future__ import annotations

import warnings

from dmun_audit._util import torchvision_compatibility


def import_libraries() -> None:
    """Import torch, diffusers, transformers and open_clip, with what most pipelines and judges use of them: several seconds."""
    torchvision_compatibility.make_importable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # they use what torch is going to drop; a user cannot change that
        _import()


def _import() -> None:
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel  # noqa: F401
    from open_clip import create_model_and_transforms  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401
