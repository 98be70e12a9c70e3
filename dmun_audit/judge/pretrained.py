"""Opens what a judge needs of transformers: a network with its preprocessing, whole, and told apart by a digest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.judge.reference import JudgeReference, folder_of

NOT_OF_THE_NETWORK = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}  # settings that decide no number


@dataclass(frozen=True)
class Pretrained:
    """A network in evaluation mode and float32, its image preprocessing or processor, and the digest of both.

    `lacking` are tensors that the checkpoint does not hold and that are allowed to be absent: they are random.
    """

    model: Any
    tools: Any
    digest: str
    lacking: Sequence[str] = field(default=())


def open_pretrained(reference: JudgeReference, model: str, tools: str, device: str, may_lack: str = "") -> Pretrained:
    """Open `reference.place`, a folder or a hub id, by the classes of transformers that are called `model` and `tools`.

    Raises LoadError where it cannot be opened, and where its weights lack tensors of which the name does not begin with
    `may_lack`: transformers would draw them at random, and the judge would see what it never learnt.
    """
    torchvision_compatibility.make_importable()
    import torch
    import transformers

    folder = folder_of(reference.place)
    name, _, revision = (str(folder), "", "") if folder else reference.place.partition("@")
    where: dict[str, Any] = {"trust_remote_code": False} | ({"revision": revision} if revision else {})
    try:
        preprocess = getattr(transformers, tools).from_pretrained(name, **where)
        network, told = getattr(transformers, model).from_pretrained(name, dtype=torch.float32, output_loading_info=True, **where)
    except Exception as error:
        raise LoadError(
            f"judge {reference.text!r} cannot be opened by transformers",
            " ".join(str(error).split())[:300],
            f"give the folder or hub id of a model that {model} and {tools} open",
        ) from None
    lacking = sorted({*told["missing_keys"], *(str(key) for key, *_ in told["mismatched_keys"])})
    unexcused = [key for key in lacking if not (may_lack and key.startswith(may_lack))]
    if unexcused:
        raise LoadError(
            f"judge {reference.text!r} lacks {len(unexcused)} tensors of its weights, such as {unexcused[0]}",
            "they would be random, and so would what it says",
            "give a checkpoint that was trained for this task",
        )
    network.eval().to(device)
    return Pretrained(network, preprocess, _digest(network, preprocess), lacking)


def pil_images(images: Sequence[np.ndarray]) -> list[Any]:
    """Images (height, width, 3) uint8 as Pillow's."""
    from PIL import Image

    return [Image.fromarray(image) for image in images]


def _digest(network: Any, preprocess: Any) -> str:
    """SHA-256 over all that decides what the network says: weights by name, settings, preprocessing, how it cuts up text."""
    settings = {key: value for key, value in network.config.to_dict().items() if key not in NOT_OF_THE_NETWORK}
    parts = [json.dumps(settings, sort_keys=True, default=str).encode()]
    parts.append(repr(getattr(preprocess, "image_processor", preprocess)).encode())
    if (tokenizer := getattr(preprocess, "tokenizer", None)) is not None:
        parts.append(repr(tokenizer("a logo, 88: l'été").input_ids).encode())
    for name, tensor in sorted(network.state_dict().items()):
        parts.append(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest([digest_bytes(part) for part in parts])
