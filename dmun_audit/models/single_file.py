"""A complete checkpoint in one file, named as a base: how it becomes the pipeline folder that a base is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from dmun_audit.models.files.contents import is_safetensors
from dmun_audit.models.files.safetensors_header import read_header

FOLDER = "name a pipeline folder, a hub id or atelier:base"
AUTOENCODER = "first_stage_model."
TEXT_ENCODERS = {  # of a complete checkpoint → the pipeline's class in diffusers
    "conditioner.embedders.1.": "StableDiffusionXLPipeline",
    "cond_stage_model.": "StableDiffusionPipeline",
}


def way_to_a_base(path: Path) -> str:
    """What to do with a weights file that was named as the base: where it may be a complete checkpoint, the command that converts it.

    Raises LoadError for a damaged file.
    """
    if path.is_dir():
        return FOLDER
    kind = _class_of(read_header(path).shapes) if is_safetensors(path) else None
    if kind == "":
        return FOLDER
    given = "it is a complete checkpoint" if kind else "if it is a complete checkpoint"
    return (
        f"{FOLDER}; {given}: convert it once with {conversion(path, kind or 'StableDiffusionPipeline')} and name {path.stem}, where "
        "FOLDER is any pipeline folder of the same family, whose configurations and tokenizers are used"
    )


def conversion(path: Path, pipeline_class: str) -> str:
    """The command that makes the folder `path.stem` from a complete checkpoint, with the configurations in FOLDER."""
    code = f"from diffusers import {pipeline_class} as P; P.from_single_file({str(path)!r}, config='FOLDER').save_pretrained({path.stem!r})"
    return f'python -c "{code}"'


def _class_of(names: Collection[str]) -> str:
    """The class of the pipeline that a file with these tensors holds; empty for a part of one."""
    if not any(name.startswith(AUTOENCODER) for name in names):
        return ""
    found = (kind for prefix, kind in TEXT_ENCODERS.items() if any(name.startswith(prefix) for name in names))
    return next(found, "")
