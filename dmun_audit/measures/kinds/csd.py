"""CSD: the similarity of style between the two images of a pair, by a network that was trained on styles.

Source: Somepalli et al., Measuring style similarity in diffusion models, 2024 (CSD, contrastive style descriptors). The published
network is the image tower of OpenAI's CLIP ViT-L/14 with a matrix for style in place of its projection.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, in_brief
from dmun_audit._util.hashing import digest
from dmun_audit.judge.batches import encode_in_batches
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.preprocessing import Preparation, preparation
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.judge.reference_images import unit_vectors
from dmun_audit.measures.metric_kind import IMAGES, MetricKind, check_weights_file, read_tensors

BATCH_SIZE = 16
VERSION = 1  # of what this file computes
TRUNK, STYLE = "backbone.", "last_layer_style"  # the names of the published file
HEAD_WIDTH = 64  # of CLIP's attention heads
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.")


@dataclass(frozen=True)
class StyleSimilarity:
    """The mean cosine of the style embeddings of base and candidate image, over pairs."""

    reference: str
    digest: str
    network: Any
    prepare: Preparation
    name: str = "csd"

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """See `Metric.measure`. `csd` is in [-1, 1], and 1 for equal images; `csd.images` is the number of pairs."""
        before, after = self.embed(base), self.embed(candidate)
        return {self.name: float((before * after).sum(axis=1).mean()), f"{self.name}.{IMAGES}": float(len(before))}

    def embed(self, images: Sequence[np.ndarray]) -> NDArray[np.float64]:
        """The style embeddings of n ≥ 1 images (height, width, 3) uint8: unit vectors (n, d)."""

        def encode(batch: list[np.ndarray]) -> Any:
            return self.network(self.prepare(batch))

        return unit_vectors(encode_in_batches(encode, images, BATCH_SIZE).astype(np.float64))


def _open(reference: JudgeReference, models: SharedModels) -> StyleSimilarity:
    torchvision_compatibility.make_importable()
    from open_clip.transform import image_transform

    tensors = read_tensors(reference, reference.source)
    trunk = {name.removeprefix(TRUNK): value for name, value in tensors.items() if name.startswith(TRUNK)}
    if STYLE not in tensors or not trunk:
        raise _another_file(reference, f"it has no tensors named {STYLE} and {TRUNK}…")
    trunk["proj"] = tensors[STYLE]
    network, side = _network(reference, {name: value.float() for name, value in trunk.items()})
    transform = image_transform(side, is_train=False, interpolation="bicubic", resize_mode="shortest")
    network.eval().to(models.device)
    contents = [
        [name, hashlib.sha256(value.cpu().contiguous().numpy().tobytes()).hexdigest()]
        for name, value in sorted(network.state_dict().items())
    ]
    own_digest = digest(["csd", VERSION, repr(network), repr(transform), contents])
    return StyleSimilarity(reference.text, own_digest, network, preparation(transform, models.device))


def _network(reference: JudgeReference, tensors: dict[str, Any]) -> tuple[Any, int]:
    """CLIP's image tower with these tensors, and the side in pixels of the images that it reads. Its sizes follow from the tensors."""
    from open_clip.transformer import QuickGELU, VisionTransformer

    try:
        width, _, patch, _ = tensors["conv1.weight"].shape
        side = round((len(tensors["positional_embedding"]) - 1) ** 0.5) * patch
        blocks = {int(found[1]) for name in tensors if (found := _BLOCK.match(name))}
        network = VisionTransformer(
            side, patch, width, len(blocks), width // HEAD_WIDTH, 4.0, output_dim=tensors["proj"].shape[1], act_layer=QuickGELU
        )
        network.load_state_dict(tensors)
    except (KeyError, ValueError, IndexError, RuntimeError, ZeroDivisionError) as error:
        raise _another_file(reference, f"{type(error).__name__}: {in_brief(error)}") from None
    return network, side


def _another_file(reference: JudgeReference, why: str) -> LoadError:
    return LoadError(
        f"metric {reference.text!r}: {reference.source} does not hold the network of CSD",
        why,
        "give the published checkpoint of CSD-ViT-L",
    )


KIND = MetricKind(
    "csd",
    "csd:FILE",
    check=lambda reference: check_weights_file(reference, reference.source, "the weights of CSD"),
    open=_open,
    note="CSD is the similarity of style between the images of a pair: 1 for equal images.",
    titles={"csd": "CSD"},
)
