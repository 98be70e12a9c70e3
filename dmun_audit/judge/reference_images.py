"""Detection by reference images that the user brings. The score is the similarity of an image to the mean of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit._util.paths import expanded
from dmun_audit.judge.batches import encode_in_batches
from dmun_audit.judge.detector_kind import DetectorKind, SharedModels
from dmun_audit.judge.pretrained import check_source, open_pretrained, pil_images
from dmun_audit.judge.protocol import ScoreScale
from dmun_audit.judge.reference import JudgeReference, check_clip, is_clip
from dmun_audit.knowledge.dossier import Target

BATCH_SIZE = 8
SCALE = ScoreScale(lowest=0.2, absolute=False)  # a cosine; unrelated images often score higher, so calibration goes above them
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


class Embedder(Protocol):
    """Embeds images as unit vectors. `digest` is the SHA-256 of everything that decides an embedding."""

    digest: str

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors (n, d) of n ≥ 1 images (height, width, 3) uint8."""
        ...


class ReferenceImageNetwork:
    """A network of the detectors that compare with reference images. `embedder` embeds both."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def detector(self, reference: JudgeReference, target: Target) -> ReferenceImageDetector:
        """See `Network.detector`. The query is a folder of reference images; the target's name and label are not used."""
        images = _read(reference)
        mean = self.embedder.embed_images(images).astype(np.float64).mean(axis=0)
        length = float(np.linalg.norm(mean))
        if not length or not np.isfinite(length):
            raise LoadError(
                f"judge {reference.text!r} cannot use its reference images",
                f"their mean embedding is {'not finite' if length else 'zero'}",
                "use another network: its weights may be damaged" if length else "give other images",
            )
        digests = sorted(digest_bytes(repr(image.shape).encode() + image.tobytes()) for image in images)
        own_digest = digest([self.embedder.digest, "pictures", digests])
        return ReferenceImageDetector(reference.text, own_digest, self.embedder, mean / length)


@dataclass(frozen=True, eq=False)
class ReferenceImageDetector:
    """The cosine of an image's embedding with `mean`, a unit vector (d,) along the mean of the reference images' embeddings.

    A negative cosine is a score of 0.
    """

    reference: str
    digest: str
    embedder: Embedder
    mean: np.ndarray
    scale: ScoreScale = SCALE

    def target_scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Detector.target_scores`."""
        # A sum over each row: a matrix product rounds differently for another number of rows.
        products = self.embedder.embed_images(images).astype(np.float64) * self.mean
        return products.sum(axis=1).clip(0, 1)


class ImageEmbedder:
    """A network of `AutoModel` for images, such as DINOv2. The embedding is its pooled output, or its first token without one."""

    def __init__(self, reference: JudgeReference, device: str = "cpu") -> None:
        self._opened = open_pretrained(reference, "AutoModel", "AutoImageProcessor", device, may_lack="pooler")
        self._device = device
        self.digest = self._opened.digest

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See `Embedder.embed_images`."""

        def encode(batch: list[np.ndarray]) -> Any:
            pixels = self._opened.processor(images=pil_images(batch), return_tensors="pt")["pixel_values"].to(self._device)
            if hasattr(self._opened.model, "get_image_features"):
                output = self._opened.model.get_image_features(pixel_values=pixels)
            else:
                output = self._opened.model(pixel_values=pixels)
            return _pooled(output, has_pooler=not self._opened.missing)

        return unit_vectors(encode_in_batches(encode, images, BATCH_SIZE))


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Rows (n, d) divided by their lengths; a row of zeros stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def check_reference_images(reference: JudgeReference) -> None:
    """Raise LoadError unless the query is a folder with at least one image file."""
    if not reference.query:
        raise LoadError(
            f"judge {reference.text!r} has no reference images", "", "add #FOLDER, a folder with images of the target"
        )
    if not image_files(reference.query):
        raise LoadError(
            f"judge {reference.text!r}: no images in {reference.query}",
            f"files ending in {', '.join(sorted(SUFFIXES))} are read",
            "give a folder with images of the target",
        )


def _check(reference: JudgeReference) -> None:
    if is_clip(reference.source):
        check_clip(reference.source)
    else:
        check_source(reference)
    check_reference_images(reference)


def _open(reference: JudgeReference, models: SharedModels) -> ReferenceImageNetwork:
    if is_clip(reference.source):
        return ReferenceImageNetwork(models.clip_model(reference.source))
    return ReferenceImageNetwork(ImageEmbedder(reference, models.device))


def _pooled(output: Any, has_pooler: bool) -> Any:
    if not hasattr(output, "last_hidden_state"):
        return output.flatten(1)
    pooled = getattr(output, "pooler_output", None)
    hidden = output.last_hidden_state
    if pooled is not None and has_pooler:
        return pooled.flatten(1)
    return hidden[:, 0] if hidden.ndim == 3 else hidden.mean(dim=(2, 3))


def image_files(folder: str) -> list[Path]:
    """The image files in a folder by name, without those of folders in it; empty where there is no such folder."""
    return sorted(path for path in expanded(folder).glob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _read(reference: JudgeReference) -> list[np.ndarray]:
    from PIL import Image

    images = []
    for path in image_files(reference.query):
        try:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise LoadError(f"judge {reference.text!r} cannot read {path}", str(error), "remove it or save it again") from None
    return images


KIND = DetectorKind("references", "references:MODEL#folder-of-images", check=_check, open=_open)
