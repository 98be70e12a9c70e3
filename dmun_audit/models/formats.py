"""Which published format a weights file has, told by the names of its tensors and not by the file's name.

This version lays a UNet in diffusers names, whole or in part, over its base. Every other format is recognised so that the
refusal can say what it is; nothing is loaded on a guess.
"""

from __future__ import annotations

import difflib
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dmun_audit.errors import LoadError
from dmun_audit.models.pickles import check_pickle
from dmun_audit.models.safetensors_header import read_header

UNET_NAMES = re.compile(
    r"(down_blocks|up_blocks|mid_block|conv_in|conv_out|conv_norm_out|time_embedding|add_embedding|class_embedding)\."
)
OTHER_FORMATS = (
    (
        "a CompVis checkpoint",
        re.compile(r"((model|first_stage_model|cond_stage_model|model_ema)\.|(input|middle|output)_blocks?\.)"),
    ),
    ("a UNet with its names prefixed", re.compile(r"unet\.")),
    ("a text encoder", re.compile(r"(text_model|text_encoder|embeddings|encoder\.layers|encoder\.block|shared)\.")),
    ("a diffusers transformer", re.compile(r"(single_transformer_blocks|transformer_blocks|blocks|double_blocks)\.")),
    ("an autoencoder", re.compile(r"(encoder|decoder|quant_conv|post_quant_conv)\.")),
    ("a textual inversion", re.compile(r"<.*>$|emb_params$|string_to_param$")),
)
LORA_NAMES = re.compile(r"(^|[._])lora([._]|$)|lora_(A|B|up|down|unet|te)\b|\.hada_|\.lokr_")
WRAPPERS = {
    "unet": "a Concept Ablation delta",
    "text_encoder": "a Concept Ablation delta",
    "state_dict": "a CompVis or training checkpoint",
}
REMEDY = "save the edited model as a whole pipeline folder (save_pretrained), or its UNet as safetensors in diffusers names"


def recognise(names: Collection[str], metadata: Mapping[str, str] | None = None) -> str:
    """What a set of tensor names is: "unet", the words for another format, or "" where the names are unknown."""
    if any(LORA_NAMES.search(name) for name in names):
        return "an SPM adapter" if "prompts" in (metadata or {}) else "a LoRA"
    if any(UNET_NAMES.match(name) for name in names):
        return "unet"
    return next((words for words, pattern in OTHER_FORMATS if any(pattern.match(name) for name in names)), "")


def require_unet(path: Path, names: Collection[str], metadata: Mapping[str, str] | None = None) -> None:
    """Raise LoadError, naming the format as far as it is known, where the names are another format's than a UNet's."""
    if not names:
        raise LoadError(f"{path} holds no tensors", "", REMEDY)
    found = recognise(names, metadata)
    if found and found != "unet":
        why = f"it looks like {found}, with tensors such as {min(names)!r}, and this version does not load that"
        if found == "an SPM adapter":
            why += "; its strength depends on the prompt, so a plain LoRA load would not be the published method"
        raise LoadError(f"{path} is not a UNet in diffusers names", why, REMEDY)


def require_match(path: Path, shapes: Mapping[str, tuple[int, ...]], base: Mapping[str, tuple[int, ...]]) -> None:
    """Raise LoadError unless every tensor of the file is one of the base's UNet, with the same shape.

    The error names up to three tensors that the base does not have, each with the closest name that it has, or the first
    tensor whose shape differs, with both shapes.
    """
    unexpected = [name for name in shapes if name not in base]
    if unexpected:
        raise LoadError(
            f"{path} does not fit the base: {len(unexpected)} of its {len(shapes)} tensors are not in the base's UNet",
            "; ".join(_beside_closest(name, base) for name in unexpected[:3]),
            "check --base, and that the file is a UNet in diffusers names; nothing was loaded",
        )
    for name, shape in shapes.items():
        if shape != base[name]:
            raise LoadError(
                f"{path} does not fit the base: tensor {name!r} has another shape",
                f"it is {list(shape)} in the file and {list(base[name])} in the base",
                "check that --base is the model this file was made from; nothing was loaded",
            )


def _beside_closest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"{name!r} (closest: {close[0]!r})" if close else repr(name)


def is_safetensors(path: Path) -> bool:
    """Whether the content is to be read as safetensors; what looks like neither format goes by the file's suffix."""
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise LoadError(f"{path} cannot be read", str(error)) from None
    if start[8:] == b"{":  # before the pickle marks: a header's length may begin with the same bytes
        return True
    return path.suffix == ".safetensors" and not start.startswith((b"PK\x03\x04", b"\x80"))


def read_tensors(path: Path) -> tuple[str, dict[str, Any]]:
    """The container of a weights file ("safetensors" or "state dict") and its UNet tensors by name, on the CPU.

    The file is verified first (`read_header`, `check_pickle`), a pickle is opened with `weights_only=True`. Raises LoadError
    for every other format, and for tensors that are not plain floating-point numbers.
    """
    if is_safetensors(path):
        require_unet(path, read_header(path).shapes, read_header(path).metadata)
        container, content = "safetensors", _open_safetensors(path)
    else:
        check_pickle(path)
        container, content = "state dict", _open_pickle(path)
        _require_flat(path, content)
        require_unet(path, content)
    for name, tensor in content.items():
        if str(tensor.dtype) not in {"torch.float64", "torch.float32", "torch.float16", "torch.bfloat16"}:
            raise LoadError(
                f"{path}: tensor {name!r} is of type {tensor.dtype}", "quantised weights are not loaded", "save it as float"
            )
        if str(tensor.layout) != "torch.strided":
            raise LoadError(f"{path}: tensor {name!r} is sparse", "only dense weights are loaded", REMEDY)
    return container, content


def _open_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise LoadError(f"{path} is no usable safetensors file", str(error)) from None


def _open_pickle(path: Path) -> Any:
    import torch

    try:
        if path.suffix == ".safetensors":  # torch would go by the suffix of a path
            with path.open("rb") as stream:
                return torch.load(stream, map_location="cpu", weights_only=True)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises whatever a damaged file makes it stumble over
        reason = str(error).strip().splitlines()
        raise LoadError(f"{path} is no usable weights file", reason[0] if reason else type(error).__name__, REMEDY) from None


def _require_flat(path: Path, content: Any) -> None:
    """A flat state dict maps names to tensors; anything else is refused, by the name of its wrapper where it is known."""
    import torch

    if not isinstance(content, dict):
        raise LoadError(f"{path} is no state dict", f"it holds a {type(content).__name__}", REMEDY)
    odd = [name for name, value in content.items() if not isinstance(name, str) or not isinstance(value, torch.Tensor)]
    if odd:
        known = next((WRAPPERS[name] for name in content if name in WRAPPERS), "")
        why = f"its entry {odd[0]!r} is a {type(content[odd[0]]).__name__}"
        why += f"; it looks like {known}, and this version does not load that" if known else ""
        raise LoadError(f"{path} is no flat state dict", why, REMEDY)
