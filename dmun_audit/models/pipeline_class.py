"""Whether diffusers has the pipeline class that a folder's model_index.json names. Decided without importing diffusers."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import LoadError


def require_known_class(folder: Path, index: Mapping[str, Any], trust_remote_code: bool) -> None:
    """Raise LoadError where `_class_name` of the folder's index is a class of a method's own code, which diffusers does not have.

    With `trust_remote_code` the class may be in the folder's pipeline.py.
    """
    name = index["_class_name"]
    if not isinstance(name, str) or (trust_remote_code and (folder / "pipeline.py").is_file()):
        return
    known = _names_of_diffusers()
    if not known or name.removeprefix("Flax") in known:
        return
    likely = _class_of_the_base(index)
    edit = f'write "_class_name": "{likely}" there, whose components it has' if likely else "write the class of its base there"
    raise LoadError(
        f"{folder / 'model_index.json'} names the pipeline class {name}, which diffusers does not have",
        "it belongs to the code of a method, which is not run",
        f"{edit}, or save the pipeline with the class of its base; where pipeline.py with that code lies beside it and you trust it, "
        "add --trust-remote-code",
    )


def _class_of_the_base(index: Mapping[str, Any]) -> str:
    """The class of the Stable Diffusion whose components the index has; empty for other models."""
    has = {name for name, entry in index.items() if isinstance(entry, list) and len(entry) == 2 and entry[0]}
    if {"unet", "text_encoder", "text_encoder_2", "vae"} <= has:
        return "StableDiffusionXLPipeline"
    return "StableDiffusionPipeline" if {"unet", "text_encoder", "vae"} <= has else ""


@cache
def _names_of_diffusers() -> frozenset[str]:
    """The names that diffusers exports, from the text of its __init__.py; none where that text cannot be read."""
    spec = importlib.util.find_spec("diffusers")
    try:
        text = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin is not None else ""
    except OSError:
        return frozenset()
    names = frozenset(re.findall(r'"(\w+)"', text))
    return names if "StableDiffusionPipeline" in names else frozenset()
