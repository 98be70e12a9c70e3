"""Likeness to reference pictures that the user brings: logos and things by an image network, people by a face network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.judge.batches import in_slots
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.pretrained import open_pretrained, pil_images
from dmun_audit.judge.protocol import Scale
from dmun_audit.judge.reference import JudgeReference, pictures_in
from dmun_audit.knowledge.dossier import Target

SLOTS = 8
SCALE = Scale(lowest=0.2)  # a cosine; image networks give unrelated pictures more, and calibration finds how much


class Embedder(Protocol):
    """Something that turns images into unit vectors."""

    digest: str

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors (n, d) of images (height, width, 3) uint8."""
        ...


class ReferenceImages:
    """An image network that compares with pictures of the target: a CLIP model of open_clip, or a network of `AutoModel`."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def detector(self, reference: JudgeReference, target: Target) -> ReferenceImagesDetector:
        """See `Network.detector`: the pictures say what is looked for, whatever the target is called."""
        pictures = _read(reference)
        centre = self.embedder.embed_images(pictures).astype(np.float64).mean(axis=0)
        length = float(np.linalg.norm(centre))
        if not length:
            raise LoadError(
                f"judge {reference.text!r} sees nothing in its pictures", "their mean embedding is zero", "use others"
            )
        shown = sorted(digest_bytes(repr(picture.shape).encode() + picture.tobytes()) for picture in pictures)
        return ReferenceImagesDetector(
            reference.text, digest([self.embedder.digest, "pictures", shown]), self.embedder, centre / length
        )


@dataclass(frozen=True, eq=False)
class ReferenceImagesDetector:
    """The cosine of an image's embedding with the mean embedding (d,) of the pictures, in [0, 1]: what points away counts as 0."""

    reference: str
    digest: str
    embedder: Embedder
    centre: np.ndarray
    scale: Scale = SCALE

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Detector.target_scores`."""
        products = self.embedder.embed_images(images).astype(np.float64) * self.centre
        return products.sum(axis=1).clip(
            0, 1
        )  # row by row: a matrix product adds up in an order that hangs on how many rows there are


class ImageNetwork:
    """A network of `AutoModel` that reads images, such as DINOv2: its pooled output, or its first token where there is none."""

    def __init__(self, reference: JudgeReference, device: str = "cpu") -> None:
        self._opened = open_pretrained(reference, "AutoModel", "AutoImageProcessor", device, may_lack="pooler")
        self._device = device
        self.digest = self._opened.digest

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Embedder.embed_images`."""

        def encode(chunk: list[np.ndarray]) -> Any:
            pixels = self._opened.tools(images=pil_images(chunk), return_tensors="pt")["pixel_values"].to(self._device)
            if hasattr(self._opened.model, "get_image_features"):
                found = self._opened.model.get_image_features(pixel_values=pixels)
            else:
                found = self._opened.model(pixel_values=pixels)
            return _pooled(found, trained=not self._opened.lacking)

        return unit(in_slots(encode, images, SLOTS))


def open_embedder(reference: JudgeReference, clip: Callable[[str], ClipJudge], device: str) -> Embedder:
    """The image network that `references:` names; `clip` opens a model of open_clip."""
    kind = reference.place.partition(":")[0]
    return clip(reference.place) if kind in {"local-dir", "open_clip", "hf-hub", "atelier"} else ImageNetwork(reference, device)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows (n, d) brought to length one; a row of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _pooled(found: Any, trained: bool) -> Any:
    if not hasattr(found, "last_hidden_state"):
        return found.flatten(1)
    pooled = getattr(found, "pooler_output", None)
    hidden = found.last_hidden_state
    if pooled is not None and trained:
        return pooled.flatten(1)
    return hidden[:, 0] if hidden.ndim == 3 else hidden.mean(dim=(2, 3))


def _read(reference: JudgeReference) -> list[np.ndarray]:
    from PIL import Image

    pictures = []
    for path in pictures_in(reference.asked):
        try:
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise LoadError(f"judge {reference.text!r} cannot read {path}", str(error), "remove it or save it again") from None
    return pictures
