"""The engine: takes requests for images, renders what the store lacks, in batches of fixed slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dmun_audit.models.loaded import LoadedModel
from dmun_audit.plan.plan import ImageRequest, Side
from dmun_audit.policy import Sampling
from dmun_audit.render.devices import choose_device
from dmun_audit.render.sampling import Sampler, open_sampler
from dmun_audit.store.files import held
from dmun_audit.store.images import ImageStore, image_key


class Engine:
    """Renders for one base and one candidate, which share steps, guidance and size: those that the base's sampler has.

    `on_rendered` is told how many new images were stored. Raises UsageError where the sampling does not suit a model.
    """

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
        self._keys: dict[ImageRequest, str] = {}
        self._held: set[str] = set()  # keys that were found whole in the store: looking reads the file
        base = open_sampler(models["base"], sampling, self._device)
        self.samplers: dict[Side, Sampler] = {
            side: base if side == "base" else open_sampler(model, sampling, self._device, like=base)
            for side, model in models.items()
        }
        self.sampler = base.settings
        self.size = base.size

    def key(self, request: ImageRequest) -> str:
        """The store's key of one image."""
        if request not in self._keys:
            self._keys[request] = image_key(
                weights=self.models[request.side].weights_digest,
                prompt=request.prompt,
                seed=request.seed,
                sampler=self.samplers[request.side].settings,
                size=self.samplers[request.side].size,
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
            self._held -= {self.key(request) for request in lost}
            self.ensure(lost)
            return self.images(requests)
        return [pixels for pixels in found if pixels is not None]

    def _missing(self, batch: Sequence[ImageRequest]) -> list[ImageRequest]:
        missing = []
        for request in batch:
            key = self.key(request)
            if key in self._held or key in self.store:
                self._held.add(key)
            else:
                missing.append(request)
        return missing

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
            pixels = self.samplers[side].sample([request.prompt for request in slots], [request.seed for request in slots])
            for request, picture in zip(slots, pixels, strict=True):
                if request in chosen:
                    facts = {"model": side, "prompt": request.prompt, "seed": request.seed, "index": request.index}
                    self.store.write(self.key(request), picture, facts)
            self.rendered += len(chosen)
            self.on_rendered(len(chosen))


def covering(row: Sequence[ImageRequest], wanted: Sequence[ImageRequest], size: int) -> list[Sequence[ImageRequest]]:
    """The batches of `size` images that must be rendered as a whole to have the `wanted` ones of `row`."""
    needed = set(wanted)
    batches = [row[start : start + size] for start in range(0, len(row), size)]
    return [batch for batch in batches if needed.intersection(batch)]
