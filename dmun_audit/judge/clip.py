"""CLIP models of open_clip: they embed images and texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.judge.batches import BATCH_SIZE, encode_in_batches
from dmun_audit.judge.open_clip_models import open_model
from dmun_audit.judge.preprocessing import preparation
from dmun_audit.judge.reference import clip_parts


class ClipJudge:
    """A CLIP model (Radford et al. 2021) of open_clip, on a torch device.

    `reference` is `local-dir:PATH`, `open_clip:ARCH/TAG`, `hf-hub:OWNER/NAME` or `atelier:judge`. `scale` is the logit scale by
    which the model multiplies cosines. Embeddings are unit vectors (n, d) float32. Raises LoadError where the model cannot be
    opened, or would not compute as it was trained.
    """

    def __init__(self, reference: str, device: str = "cpu") -> None:
        torchvision_compatibility.make_importable()
        self.reference = reference
        self._device = device
        self._model, transform, self._tokenizer = open_model(reference, *clip_parts(reference), device)
        self._transform = transform
        self._prepare = preparation(transform, device)
        self._model.eval()
        self.digest = self._digest()
        self.scale = float(self._model.logit_scale.exp().clamp(max=100).item())
        self._texts: dict[str, np.ndarray] = {}

    def _digest(self) -> str:
        """SHA-256 of everything that decides an embedding: weights as loaded, by name; layers, preprocessing, tokenization."""
        probe = self._tokenizer(["A painting, 1888: sunflowers & cypresses – l'été à Arles"]).tolist()
        parts = [repr((self._model, self._transform, probe)).encode()]
        for name, tensor in sorted(self._model.state_dict().items()):
            parts.append(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest([digest_bytes(part) for part in parts])

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors (n, d) float32 of n ≥ 1 images (height, width, 3) uint8."""

        def encode(batch: list[np.ndarray]) -> Any:
            return self._model.encode_image(self._prepare(batch), normalize=True)

        return encode_in_batches(encode, images, BATCH_SIZE)

    def image_features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Features (n, d) float32 of n ≥ 1 images (height, width, 3) uint8: the embeddings before they are scaled to length 1."""

        def encode(batch: list[np.ndarray]) -> Any:
            return self._model.encode_image(self._prepare(batch))

        return encode_in_batches(encode, images, BATCH_SIZE)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (n, d) float32 of n ≥ 1 texts. Each text is embedded once in a process."""

        def encode(batch: list[str]) -> Any:
            return self._model.encode_text(self._tokenizer(batch).to(self._device), normalize=True)

        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            self._texts.update(zip(new, encode_in_batches(encode, new, BATCH_SIZE), strict=True))
        return np.stack([self._texts[text] for text in texts])
