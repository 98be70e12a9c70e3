"""The engine: takes requests for images, renders what the store lacks, in batches of fixed slots."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmun_audit.models.loading import LoadedModel
from dmun_audit.plan import ImageRequest, Side
from dmun_audit.policy import Sampling
from dmun_audit.render.devices import choose_device
from dmun_audit.store.files import held
from dmun_audit.store.images import ImageStore, image_key


class Engine:
    """Renders for one base and one candidate. `on_rendered` is told how many new images were stored."""

    def __init__(
        self,
        models: dict[Side, LoadedModel],
        sampling: Sampling,
        store: ImageStore,
        on_rendered: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.models = models
        self.sampling = sampling
        self.store = store
        self.on_rendered = on_rendered
        self.rendered = 0
        self._device = choose_device()
        self._encoded: dict[tuple[Side, str], Any] = {}
        self._keys: dict[ImageRequest, str] = {}
        base = models["base"].pipeline
        self.sampler = describe_sampler(base, sampling)
        self.size = image_size(base)

    def key(self, request: ImageRequest) -> str:
        """The store's key of one image."""
        if request not in self._keys:
            self._keys[request] = image_key(
                weights=self.models[request.side].weights_digest,
                prompt=request.prompt,
                seed=request.seed,
                sampler=self.sampler,
                size=self.size,
                dtype=self.sampling.dtype,
                batch=self.sampling.batch,
                threads=self.sampling.threads if self._device == "cpu" else 0,
            )
        return self._keys[request]

    def ensure(self, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest] | None = None) -> None:
        """See to it that the `wanted` images of `row` (all of them, if not given) are in the store.

        `row` fixes which images share a batch: slots are filled in its order, and a batch that holds a wanted image is
        rendered as a whole. So several cases can share batches, whatever order and process they run in; a lock per
        batch keeps two processes from rendering the same one, and busy batches are left for last.
        """
        batches = covering(row, row if wanted is None else wanted, self.sampling.batch)
        waiting = [batch for batch in batches if self._missing(batch)]
        for wait in (False, True):
            waiting = [batch for batch in waiting if not self._render_locked(batch, wait)]

    def images(self, requests: Sequence[ImageRequest]) -> list[np.ndarray]:
        """The stored images of `requests`, each (height, width, 3) uint8."""
        found = [self.store.read(self.key(request)) for request in requests]
        lost = [request for request, pixels in zip(requests, found, strict=True) if pixels is None]
        if lost:  # damaged since they were made: render those again
            self.ensure(lost)
            return self.images(requests)
        return [pixels for pixels in found if pixels is not None]

    def _missing(self, batch: Sequence[ImageRequest]) -> list[ImageRequest]:
        return [request for request in batch if self.key(request) not in self.store]

    def _render_locked(self, batch: Sequence[ImageRequest], wait: bool) -> bool:
        lock = self.store.folder / "locks" / f"{self.key(batch[0])}.lock"
        with held(lock, wait=wait) as ours:
            if not ours:
                return False
            missing = self._missing(batch)
            if missing:
                self._render(batch, missing)
        return True

    def _render(self, batch: Sequence[ImageRequest], missing: list[ImageRequest]) -> None:
        for side in ("base", "candidate"):
            slots = [request for request in batch if request.side == side]
            chosen = [request for request in slots if request in missing]
            if not chosen:
                continue
            pixels = self._sample(side, slots)
            for request, picture in zip(slots, pixels, strict=True):
                if request in chosen:
                    facts = {"model": side, "prompt": request.prompt, "seed": request.seed, "index": request.index}
                    self.store.write(self.key(request), picture, facts)
            self.rendered += len(chosen)
            self.on_rendered(len(chosen))

    def _sample(self, side: Side, slots: Sequence[ImageRequest]) -> np.ndarray:
        """Run the pipeline once over all slots, padded to the batch size; (len(slots), height, width, 3) uint8."""
        import torch

        pipeline = self.models[side].pipeline
        padded = [*slots, *[slots[-1]] * (self.sampling.batch - len(slots))]
        height, width = self.size
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries about themselves: nothing that whoever runs an audit can act on
            output = pipeline(
                **self._prompts(side, [request.prompt for request in padded]),
                generator=[torch.Generator("cpu").manual_seed(request.seed) for request in padded],
                num_inference_steps=self.sampling.steps,
                guidance_scale=self.sampler["guidance"],
                height=height,
                width=width,
                output_type="np",
            )
        return (np.asarray(output.images[: len(slots)]) * 255).round().astype(np.uint8)

    def _prompts(self, side: Side, texts: list[str]) -> dict[str, Any]:
        """Prompts as embeddings encoded once each, where the pipeline takes a single text encoder; else as texts."""
        import torch

        pipeline = self.models[side].pipeline
        if getattr(pipeline, "text_encoder_2", None) is not None or not hasattr(pipeline, "encode_prompt"):
            return {"prompt": texts}
        for text in {*texts, ""}:
            if (side, text) not in self._encoded:
                with torch.inference_mode():
                    encoded = pipeline.encode_prompt(text, self._device, 1, False)[0]
                self._encoded[side, text] = encoded
        positive = torch.cat([self._encoded[side, text] for text in texts])
        return {"prompt_embeds": positive, "negative_prompt_embeds": self._encoded[side, ""].repeat(len(texts), 1, 1)}


def covering(row: Sequence[ImageRequest], wanted: Sequence[ImageRequest], size: int) -> list[Sequence[ImageRequest]]:
    """The batches of `size` images that must be rendered as a whole to have the `wanted` ones of `row`."""
    needed = set(wanted)
    batches = [row[start : start + size] for start in range(0, len(row), size)]
    return [batch for batch in batches if needed.intersection(batch)]


def describe_sampler(pipeline: Any, sampling: Sampling) -> dict[str, Any]:
    """Scheduler with its settings, steps and guidance, as plain values: part of every image's key."""
    scheduler = pipeline.scheduler
    settings = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    guidance = default_guidance(pipeline) if sampling.guidance == "model" else sampling.guidance
    return {
        "scheduler": type(scheduler).__name__,
        "settings": {key: value if isinstance(value, str | int | bool) else str(value) for key, value in settings.items()},
        "steps": sampling.steps,
        "guidance": float(guidance),
    }


def default_guidance(pipeline: Any) -> float:
    """The guidance scale of the model card (`inference: parameters: guidance_scale`), else of the pipeline's signature."""
    card = Path(str(getattr(pipeline, "name_or_path", ""))) / "README.md"
    if card.is_file():
        import yaml

        parts = card.read_text(encoding="utf-8").split("---")
        facts = yaml.safe_load(parts[1]) if len(parts) > 2 else None
        inference = facts.get("inference") if isinstance(facts, dict) else None
        parameters = inference.get("parameters") if isinstance(inference, dict) else None
        if isinstance(parameters, dict) and isinstance(parameters.get("guidance_scale"), int | float):
            return float(parameters["guidance_scale"])
    default = inspect.signature(pipeline.__call__).parameters["guidance_scale"].default
    return float(default) if isinstance(default, int | float) else 7.5


def image_size(pipeline: Any) -> tuple[int, int]:
    """The pipeline's own (height, width) in pixels."""
    denoiser: Any = getattr(pipeline, "unet", None) or pipeline.transformer
    side = denoiser.config.sample_size
    factor = pipeline.vae_scale_factor
    height, width = (side, side) if isinstance(side, int) else side
    return int(height * factor), int(width * factor)
