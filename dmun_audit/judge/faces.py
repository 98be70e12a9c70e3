"""Face networks in ONNX form that the user brings, such as ArcFace (Deng et al. 2019): how much a face is the target's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest, digest_file
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.judge.reference_images import unit

SIDE = 112  # pixels: what networks of ArcFace's kind read
PREPROCESSING = "central square, bilinear 112, RGB, (x - 127.5) / 127.5"


class FaceNetwork:
    """An embedding network with one input (1 or any, 3, 112, 112), RGB in [-1, 1], and one output (n, d).

    No face is looked for: the central square of the image stands for the face. Prompts must therefore ask for portraits in
    which the head fills the picture, and the reference photos must be cut the same way; the sensitivity control says whether
    that is enough.
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
        path = Path(reference.place).expanduser()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1  # sums in another order would be other scores
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise LoadError(
                f"judge {reference.text!r} cannot be opened by onnxruntime", " ".join(str(error).split())[:300], "check the file"
            ) from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or list(inputs[0].shape[1:]) != [3, SIDE, SIDE] or len(outputs[0].shape) != 2:
            raise LoadError(
                f"judge {reference.text!r} is no face network of ArcFace's kind",
                f"it reads {[each.shape for each in inputs]} and gives {[each.shape for each in outputs]}",
                f"give one that reads (1, 3, {SIDE}, {SIDE}) and gives one embedding",
            )
        self._input = inputs[0].name
        self.digest = digest([digest_file(path), PREPROCESSING])

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Embedder.embed_images`."""
        found = [self._session.run(None, {self._input: _central_square(image)})[0] for image in images]
        return unit(np.concatenate(found).astype(np.float32))


def _central_square(image: np.ndarray) -> np.ndarray:
    """The network's input (1, 3, 112, 112) float32 of an image (height, width, 3) uint8."""
    from PIL import Image

    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return ((np.asarray(square, dtype=np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
