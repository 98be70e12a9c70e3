"""Face networks in ONNX form that the user brings, such as ArcFace (Deng et al. 2019), as detectors of an identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dmun_audit._util.errors import LoadError, in_brief
from dmun_audit._util.hashing import digest, digest_file
from dmun_audit._util.paths import expanded
from dmun_audit.judge.detector_kind import DetectorKind
from dmun_audit.judge.reference import JudgeReference, local_path
from dmun_audit.judge.reference_images import ReferenceImageNetwork, check_reference_images, unit_vectors

SIDE = 112  # pixels: the input of networks like ArcFace
PREPROCESSING = "central square, bilinear 112, RGB, (x - 127.5) / 127.5"


class FaceEmbedder:
    """An embedding network with one input (1 or any, 3, 112, 112), RGB in [-1, 1], and one output (n, d).

    It does not locate faces: the central square of an image is taken for the face. So a prompt must ask for a portrait in which
    the head fills the image, and a reference image must be cropped in the same way. The sensitivity control shows whether
    that suffices.
    """

    def __init__(self, reference: JudgeReference) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise LoadError(
                f"judge {reference.text!r} needs the package onnxruntime",
                "it is not installed",
                "pip install 'dmun_audit[faces]'",
            ) from None
        path = expanded(reference.source)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # another number of threads rounds differently
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise LoadError(
                f"judge {reference.text!r} cannot be opened by onnxruntime", in_brief(error), "check the file"
            ) from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or list(inputs[0].shape[1:]) != [3, SIDE, SIDE] or len(outputs[0].shape) != 2:
            raise LoadError(
                f"judge {reference.text!r} is no face network like ArcFace",
                f"it reads {[each.shape for each in inputs]} and gives {[each.shape for each in outputs]}",
                f"give a network that reads (1, 3, {SIDE}, {SIDE}) and gives one embedding",
            )
        self._input = inputs[0].name
        self.digest = digest([digest_file(path), PREPROCESSING])

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Embedder.embed_images`."""
        embeddings = [self._session.run(None, {self._input: _central_square(image)})[0] for image in images]
        return unit_vectors(np.concatenate(embeddings).astype(np.float32))


def _central_square(image: np.ndarray) -> np.ndarray:
    """The network's input (1, 3, 112, 112) float32 of an image (height, width, 3) uint8."""
    from PIL import Image

    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return ((np.asarray(square, dtype=np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]


def _check(reference: JudgeReference) -> None:
    path = local_path(reference.source)
    if path is None or not path.is_file() or path.suffix.lower() != ".onnx":
        raise LoadError(
            f"judge {reference.text!r}: {reference.source} is no .onnx file", "no face network is downloaded", "check the path"
        )
    check_reference_images(reference)


KIND = DetectorKind(
    "faces",
    "faces:NETWORK.onnx#folder-of-photos",
    check=_check,
    open=lambda reference, models: ReferenceImageNetwork(FaceEmbedder(reference)),
)
