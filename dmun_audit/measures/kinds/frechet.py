"""Fréchet distances between the images of base and candidate, and to a folder of real images, on the features of a named network.

The features name the value: `fd_dinov2` on DINOv2 (FD-DINOv2, Stein et al., Exposing flaws of generative model evaluation metrics,
NeurIPS 2023), `clip_fid` on CLIP (CLIP-FID, Kynkäänniemi et al., The role of ImageNet classes in Fréchet Inception distance, ICLR 2023),
`fid_inception` on the InceptionV3 of the first FID (Heusel et al., NIPS 2017).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, in_brief
from dmun_audit._util.hashing import digest
from dmun_audit.judge.batches import encode_in_batches
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.pretrained import check_source, open_pretrained, pil_images
from dmun_audit.judge.reference import JudgeReference, is_clip, local_path
from dmun_audit.judge.reference_images import SUFFIXES, image_files
from dmun_audit.measures.frechet import frechet_distance
from dmun_audit.measures.metric_kind import (
    FEATURES,
    IMAGES,
    MetricKind,
    as_batches,
    check_clip_source,
    check_weights_file,
    missing_package,
    open_clip_source,
    read_tensors,
)
from dmun_audit.models.image_files import image_form, read_image

BATCH_SIZE = 8
NETWORKS = (
    "name a folder or hub id with DINOv2, InceptionV3's weights file, or a CLIP model as --judge takes it (local-dir:FOLDER)"
)
VERSION = 1  # of what this file computes
FEWEST = 2  # images of each set
PACKAGE = "torch-fidelity"
FIRST_TOKEN_FAMILIES = {"dinov2", "dinov2_with_registers", "dinov3_vit"}  # their first token stands for the whole image

Features = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Features (n, d) of n ≥ 1 images (height, width, 3) uint8."""


@dataclass
class FrechetMetric:
    """The Fréchet distance on the features of one network. `real` are the paths of real images; there may be none."""

    name: str
    reference: str
    digest: str
    features: Features
    real: Sequence[Path] = ()

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """See `Metric.measure`. Fewer than two pairs give no value.

        `NAME` is the distance between base and candidate images. With real images, `NAME.real_base` and `NAME.real_candidate` are
        the distances from them. `NAME.images`, `NAME.real_images` and `NAME.features` are the numbers of images and of features.
        """
        if len(base) < FEWEST:
            return {}
        before, after = self.features(base), self.features(candidate)
        values = {
            self.name: frechet_distance(before, after),
            f"{self.name}.{IMAGES}": float(len(before)),
            f"{self.name}.{FEATURES}": float(before.shape[1]),
        }
        if self.real:
            values[f"{self.name}.real_base"] = frechet_distance(self._of_real, before)
            values[f"{self.name}.real_candidate"] = frechet_distance(self._of_real, after)
            values[f"{self.name}.real_images"] = float(len(self._of_real))
        return values

    @cached_property
    def _of_real(self) -> np.ndarray:
        """The features of the real images, (n, d). They are computed once in a process."""
        parts = [self.features([read_image(path) for path in batch]) for batch in as_batches(self.real, 32)]
        return np.concatenate(parts)


def _check(reference: JudgeReference) -> None:
    if is_clip(reference.source):
        check_clip_source(reference, reference.source)
    elif _is_file(reference.source):
        if find_spec("torch_fidelity") is None:
            raise missing_package(reference, PACKAGE, "it is not installed")
        check_weights_file(reference, reference.source, "the weights of FID's InceptionV3")
    else:
        _check_network(reference)
    if reference.query:
        _check_real(reference)


def _check_network(reference: JudgeReference) -> None:
    """Raise LoadError unless the source is a hub id or a folder of transformers."""
    try:
        check_source(reference)
    except LoadError as error:
        raise LoadError(error.what, error.why, NETWORKS) from None


def _check_real(reference: JudgeReference) -> None:
    """Raise LoadError unless the query is a folder with two images or more, all of which can be read."""
    files = image_files(reference.query)
    if len(files) < FEWEST:
        raise LoadError(
            f"metric {reference.text!r}: {len(files)} images in {reference.query}",
            f"a distance between sets needs {FEWEST} or more; files ending in {', '.join(sorted(SUFFIXES))} are read",
            "give a folder with real images",
        )
    for file in files:
        image_form(file)


def _open(reference: JudgeReference, models: SharedModels) -> FrechetMetric:
    name, network, features = _network(reference, models)
    real = image_files(reference.query) if reference.query else []
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in real]
    return FrechetMetric(name, reference.text, digest([name, VERSION, network, contents]), features, real)


def _network(reference: JudgeReference, models: SharedModels) -> tuple[str, str, Features]:
    """The name of the metric, the digest of the network, and its features."""
    if is_clip(reference.source):
        clip = open_clip_source(reference, reference.source, models)
        return "clip_fid", clip.digest, clip.image_features
    if _is_file(reference.source):
        return "fid_inception", *_inception(reference, models.device)
    return _first_token(reference, models.device)


def _first_token(reference: JudgeReference, device: str) -> tuple[str, str, Features]:
    """The first token of a vision transformer after its last norm: the feature that Stein et al. take of DINOv2."""
    opened = open_pretrained(reference, "AutoModel", "AutoImageProcessor", device, may_lack="pooler")
    family = opened.model.config.model_type
    if family not in FIRST_TOKEN_FAMILIES:
        raise LoadError(
            f"metric {reference.text!r} is a network of the family {family!r}",
            "nothing says which of its outputs are the features",
            f"use a network of {', '.join(sorted(FIRST_TOKEN_FAMILIES))}, a CLIP model as --judge takes it, or InceptionV3's weights file",
        )

    def encode(batch: list[np.ndarray]) -> Any:
        pixels = opened.processor(images=pil_images(batch), return_tensors="pt")["pixel_values"].to(device)
        return opened.model(pixel_values=pixels).last_hidden_state[:, 0]

    return f"fd_{family}", opened.digest, lambda images: encode_in_batches(encode, images, BATCH_SIZE)


def _inception(reference: JudgeReference, device: str) -> tuple[str, Features]:
    """The 2048 features of FID's InceptionV3, as torch-fidelity computes them, with the weights of a file."""
    torchvision_compatibility.make_importable()
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the package uses what torch is going to drop
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise missing_package(reference, PACKAGE, str(error)) from None
    tensors = read_tensors(reference, reference.source)
    checked = io.BytesIO()  # the package would run code in the user's file; this copy holds tensors alone
    torch.save(tensors, checked)
    checked.seek(0)
    try:
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=checked)
    except (RuntimeError, AttributeError) as error:
        raise LoadError(
            f"metric {reference.text!r}: {reference.source} does not hold FID's InceptionV3",
            in_brief(error),
            "give torch-fidelity's file weights-inception-2015-12-05-6726825d.pth; torchvision's InceptionV3 is another network",
        ) from None
    network.eval().to(device)

    def encode(batch: list[np.ndarray]) -> Any:
        pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).to(device)
        return network(pixels)[0]

    def features(images: Sequence[np.ndarray]) -> np.ndarray:
        """Images of different sizes are encoded one by one."""
        if len({image.shape for image in images}) == 1:
            return encode_in_batches(encode, images, BATCH_SIZE)
        return np.concatenate([encode_in_batches(encode, [image], BATCH_SIZE) for image in images])

    parts = [PACKAGE, version(PACKAGE)]
    for name, tensor in sorted(network.state_dict().items()):
        parts += [name, hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()]
    return digest(parts), features


def _is_file(source: str) -> bool:
    path = local_path(source)
    return path is not None and path.is_file()


KIND = MetricKind(
    "frechet",
    "frechet:MODEL#FOLDER",
    check=_check,
    open=_open,
    note="A Fréchet distance is 0 for equal sets. With fewer images than features it is biased upward, and comparable only "
    "with distances of the same features on as many images. Base and candidate share prompts and seeds, so their distance is smaller than between "
    "two sets of other seeds.",
    titles={
        "fd_dinov2": "FD-DINOv2",
        "fd_dinov2_with_registers": "FD-DINOv2 (registers)",
        "fd_dinov3_vit": "FD-DINOv3",
        "clip_fid": "CLIP-FID",
        "fid_inception": "FID (InceptionV3)",
    },
)
