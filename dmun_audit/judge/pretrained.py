"""Opens networks of transformers for detectors: the network, its preprocessing, and a digest of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, in_brief
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.judge.reference import JudgeReference, local_path, looks_like_path
from dmun_audit.models.headers import check_network_folder
from dmun_audit.models.references import HUB_ID

IGNORED_SETTINGS = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}  # they decide no score


@dataclass(frozen=True)
class Pretrained:
    """A network in evaluation mode and float32, its image processor or processor, and the digest of both.

    `missing` names tensors that are missing from the checkpoint and may be: their values are random and must not be used.
    """

    model: Any
    processor: Any
    digest: str
    missing: Sequence[str] = field(default=())


def check_source(reference: JudgeReference) -> None:
    """Raise LoadError unless the source is a hub id, or a folder with a config.json."""
    path = local_path(reference.source)
    if path is None:
        if looks_like_path(reference.source) or not HUB_ID.fullmatch(reference.source):
            raise LoadError(
                f"{reference.role} {reference.text!r}: there is no folder {reference.source}",
                "it is no hub id such as owner/name either",
                "check the path",
            )
    elif not (path / "config.json").is_file():
        raise LoadError(
            f"{reference.role} {reference.text!r}: no config.json in {reference.source}",
            "transformers reads the kind of network from that file",
            "check the path",
        )


def open_pretrained(
    reference: JudgeReference, model_class: str, processor_class: str, device: str, may_lack: str = ""
) -> Pretrained:
    """Open `reference.source`, a folder or a hub id, with the classes of transformers that have these names.

    Tensors whose names begin with `may_lack` may be missing from the checkpoint. Raises LoadError where the source cannot be
    opened, and where another tensor is missing: transformers would fill it with random values.
    """
    torchvision_compatibility.make_importable()
    import torch
    import transformers

    folder = local_path(reference.source)
    name, _, revision = (str(folder), "", "") if folder else reference.source.partition("@")
    if folder is not None:
        check_network_folder(folder)
    options: dict[str, Any] = {"trust_remote_code": False} | ({"revision": revision} if revision else {})
    try:
        processor = getattr(transformers, processor_class).from_pretrained(name, **options)
        network, loading = getattr(transformers, model_class).from_pretrained(
            name, dtype=torch.float32, output_loading_info=True, **options
        )
    except Exception as error:
        raise LoadError(
            f"{reference.role} {reference.text!r} cannot be opened by transformers",
            in_brief(error),
            f"give {'the folder' if folder else 'another hub id, or the folder of a local copy,'} of a model that {model_class} and "
            f"{processor_class} open"
            + ("" if folder else ". Without a network only a local copy opens; HF_HUB_OFFLINE=1 says so at once"),
        ) from None
    missing = sorted({*loading["missing_keys"], *(str(key) for key, *_ in loading["mismatched_keys"])})
    needed = [key for key in missing if not (may_lack and key.startswith(may_lack))]
    if needed:
        raise LoadError(
            f"{reference.role} {reference.text!r} lacks {len(needed)} tensors of its weights, such as {needed[0]}",
            "transformers would fill them with random values, and the scores would be random",
            "give a checkpoint that was trained for this task",
        )
    network.eval().to(device)
    return Pretrained(network, processor, _digest(network, processor), missing)


def pil_images(images: Sequence[np.ndarray]) -> list[Any]:
    """Pillow images of arrays (height, width, 3) uint8."""
    from PIL import Image

    return [Image.fromarray(image) for image in images]


def _digest(network: Any, processor: Any) -> str:
    """SHA-256 of everything that decides an output: weights by name, settings, preprocessing, tokenization."""
    settings = {key: value for key, value in network.config.to_dict().items() if key not in IGNORED_SETTINGS}
    parts = [json.dumps(settings, sort_keys=True, default=str).encode()]
    parts.append(repr(getattr(processor, "image_processor", processor)).encode())
    if (tokenizer := getattr(processor, "tokenizer", None)) is not None:
        parts.append(repr(tokenizer("a logo, 88: l'été").input_ids).encode())
    for name, tensor in sorted(network.state_dict().items()):
        parts.append(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest([digest_bytes(part) for part in parts])
