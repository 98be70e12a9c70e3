"""The judge on whole batches of images: the weights, scores and labels of an audit, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.clip_scorer import ClipScorer
from dmun_audit.judge.reference import clip_parts
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.models import references
from dmun_audit.store.embeddings import EmbeddingStore

UNKNOWN = 255
"""Stands in `recognised` for an image whose label was not asked for."""


class BatchedJudge:
    """Embeds a batch at once and scores it as the judge of a dossier does.

    An image that has the judge's size needs no resizing. Its preprocessing is then one subtraction and one division. Raises
    LoadError where the judge's own preprocessing differs from that.
    """

    def __init__(self, dossier: Dossier, device: str) -> None:
        torchvision_compatibility.make_importable()
        import open_clip

        reference = f"local-dir:{references.atelier_judge()}"
        self._device = device
        self._dossier = dossier
        self.judge = ClipJudge(reference, device)
        name, tag = clip_parts(reference)
        self._model, _, self._preprocess = open_clip.create_model_and_transforms(name, pretrained=tag, device=device)
        self._model.eval()
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(self._model.visual.image_mean, device=device).reshape(shape)
        self._std = torch.tensor(self._model.visual.image_std, device=device).reshape(shape)
        self._check_preprocessing()

    def _check_preprocessing(self) -> None:
        size = self._model.visual.image_size
        height, width = size if isinstance(size, tuple) else (size, size)
        pixels = np.random.default_rng(0).integers(0, 256, (4, height, width, 3), np.uint8)
        expected = torch.stack([self._preprocess(Image.fromarray(image)) for image in pixels])
        difference = float((expected - self._prepared(pixels).cpu()).abs().max())
        if difference > 1e-5:
            raise LoadError("the judge's preprocessing is not a subtraction and a division", f"they differ by {difference:.2g}")

    def _prepared(self, pixels: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2)
        return (images.float() / 255 - self._mean) / self._std

    def score(
        self, pixels: np.ndarray, prompts: Sequence[str], concepts: Sequence[NearbyConcept | None]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Target scores, CLIP scores and recognised concepts, each of shape (n,), of images (n, height, width, 3) uint8.

        An image has one prompt, and the nearby concept that it should show. `recognised` is `UNKNOWN` without a concept.
        """
        with torch.inference_mode():
            vectors = self._model.encode_image(self._prepared(pixels), normalize=True).float().cpu().numpy()
        keys = [str(place) for place in range(len(pixels))]
        embeddings = _EmbeddingsInMemory(dict(zip(keys, vectors, strict=True)))
        scorer = ClipScorer(self.judge, self._dossier, embeddings, _no_images)
        recognised = np.full(len(keys), UNKNOWN, np.uint8)
        for name, concept in {concept.name: concept for concept in concepts if concept}.items():
            places = [place for place, shown in enumerate(concepts) if shown and shown.name == name]
            labels = scorer.classify([keys[place] for place in places], concept)
            recognised[places] = [label == concept.label for label in labels]
        return scorer.target_scores(keys), scorer.clip_scores(keys, prompts), recognised


class _EmbeddingsInMemory(EmbeddingStore):
    """A store that holds one batch."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self._vectors = vectors

    def read(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        return {key: self._vectors[key] for key in keys}


def _no_images(keys: Sequence[str]) -> list[np.ndarray]:
    raise AssertionError("every embedding is in memory")
