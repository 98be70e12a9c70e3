"""The engine: takes requests for images and renders those that the store lacks, in batches of fixed slots."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, get_args

import numpy as np

from dmun_audit._util.errors import StoreError
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.plan.case import OWN_SETTINGS, ImageRequest, Recipe, Row, Side
from dmun_audit.policy import Sampling
from dmun_audit.render.acceleration import keep_compiled_code
from dmun_audit.render.counts import Counts, DrawingTime
from dmun_audit.render.devices import Offload, choose_device, describe_hardware, memory_errors, number_format
from dmun_audit.render.drawing import execution_of
from dmun_audit.render.own_settings import own_differences, own_sampling
from dmun_audit.render.rechecks import Rechecks, Repeats, place_of
from dmun_audit.render.sampling import ExternalSampler, Sampler, open_sampler
from dmun_audit.render.writing import Writer
from dmun_audit.store.environment import rendering_environment
from dmun_audit.store.files import held
from dmun_audit.store.images import ImageStore, image_key

SIDES: tuple[Side, ...] = get_args(Side)

logger = logging.getLogger(__name__)


class Recipes(Protocol):
    """What draws the images of recipes."""

    def sampler(self, side: Side, recipe: Recipe) -> Sampler:
        """The sampler of one side's images of a recipe."""
        ...


class Engine:
    """Renders for one base and one candidate, which share steps, guidance and size: the values of the base's sampler.

    `offload` is for cards that hold no whole model: the models lie on the CPU then (`offloading`).

    The side `OWN_SETTINGS` is the candidate with its own steps, guidance and scheduler.

    `on_rendered` is called with the number of new images after each batch. Raises UsageError where the sampling does not suit a
    model.
    """

    def __init__(
        self,
        models: dict[Side, LoadedModel],
        sampling: Sampling,
        store: ImageStore,
        on_rendered: Callable[[int], None] = lambda count: None,
        offload: Offload | None = None,
    ) -> None:
        self.models = models
        self.sampling = sampling
        self.execution = execution_of(sampling.acceleration, offload, models.values())
        self.store = store
        self.on_rendered = on_rendered
        self.rendered = 0
        self._times: dict[str, DrawingTime] = {}
        self.recipes: Recipes | None = None  # set where probes are run
        self._rechecks = Rechecks(store, sampling)
        self.device = choose_device()
        self.dtype = number_format(sampling.dtype)
        self.environment = rendering_environment(self.device)
        if self.execution.acceleration == "compiled":
            keep_compiled_code(store.folder / "compiled")
        self._keys: dict[ImageRequest, str] = {}
        self._requests: dict[str, ImageRequest] = {}  # by key; of two requests with one key, the first
        self._stored: set[str] = set()  # keys of images that were read from the store once: each look reads the whole file
        self._batches: dict[ImageRequest, tuple[ImageRequest, ...]] = {}  # the batch that each image comes from
        base = open_sampler(models["base"], sampling, self.device, execution=self.execution)
        self.samplers: dict[Side, Sampler] = {
            side: base if side == "base" else open_sampler(model, sampling, self.device, like=base, execution=self.execution)
            for side, model in models.items()
        }
        self.sampler = base.settings
        self.size = base.size

    @property
    def hardware(self) -> dict[str, object]:
        """Processor, cores and GPU that draw the images, for the manifest."""
        return describe_hardware()

    @property
    def counts(self) -> Counts:
        """What this process has drawn so far."""
        return Counts(self.rendered, self._rechecks.checked, dict(self._times))

    @cached_property
    def own_differences(self) -> tuple[str, ...] | None:
        """Where the candidate's own settings differ from the base's; None if its images come from a folder or a function."""
        candidate = self.models["candidate"]
        return own_differences(self.models["base"], candidate, self.sampling) if candidate.image_source is None else None

    def _model(self, side: Side) -> LoadedModel:
        return self.models["candidate" if side == OWN_SETTINGS else side]

    def sampler_of(self, side: Side) -> Sampler:
        """The sampler of one side. Some are opened when they are first used: the candidate's under its own settings, and that of the
        control model of probes, which must be in `models` then.
        """
        if side not in self.samplers:
            own = side == OWN_SETTINGS
            sampling = own_sampling(self._model(side), self.sampling) if own else self.sampling
            self.samplers[side] = open_sampler(
                self._model(side), sampling, self.device, like=self.samplers["base"], only_size=own, execution=self.execution
            )
        return self.samplers[side]

    def forget(self, side: Side) -> None:
        """Let go of the model of a side: another one takes its place."""
        self.models.pop(side, None)
        self.samplers.pop(side, None)
        self._keys = {request: key for request, key in self._keys.items() if request.side != side}

    def _sampler(self, request: ImageRequest) -> Sampler:
        if request.recipe is None:
            return self.sampler_of(request.side)
        assert self.recipes is not None
        return self.recipes.sampler(request.side, request.recipe)

    def key(self, request: ImageRequest) -> str:
        """The store's key of one image."""
        if request not in self._keys:
            sampler = self._sampler(request)
            external = isinstance(sampler, ExternalSampler)
            self._keys[request] = image_key(
                weights=self._model(request.side).weights_digest,
                prompt=request.prompt,
                seed=request.seed,
                sampler=sampler.settings,
                size=sampler.size,
                dtype=self.dtype,
                batch=self.sampling.batch_size,
                threads=self.sampling.threads if self.device == "cpu" else 0,
                environment={} if external else self.environment,
                drawing={} if external else self.execution.facts,
            )
            self._requests.setdefault(self._keys[request], request)
        return self._keys[request]

    def ensure(self, row: Sequence[ImageRequest], wanted: Sequence[ImageRequest] | None = None) -> None:
        """Render the `wanted` images of `row` (all of them, if not given) that the store lacks.

        `row` decides which images share a batch: it is cut into batches in its order, and a batch with a wanted image is rendered
        as a whole. So cases and processes share batches, whatever comes first. A lock for each batch keeps two processes from
        rendering the same one; batches that another process renders are left for last.
        """
        self.ensure_rows([(row, row if wanted is None else wanted)])

    def ensure_rows(self, rows: Sequence[Row], spare: Sequence[Row] = ()) -> None:
        """`ensure` for several rows, each with its wanted images: while one is rendered elsewhere, the others are rendered here.

        The images of `spare` rows are wanted later. They are rendered only as long as this process would wait.
        """
        self._complete(self._batches_of(rows), self._batches_of(spare))

    def _batches_of(self, rows: Sequence[Row]) -> list[tuple[ImageRequest, ...]]:
        batches = list(dict.fromkeys(batch for row, wanted in rows for batch in covering(row, wanted, self.sampling.batch_size)))
        for batch in batches:
            for request in batch:
                self._batches.setdefault(request, batch)
        return batches

    def images(self, requests: Sequence[ImageRequest]) -> list[np.ndarray]:
        """The stored images of `requests`, each (height, width, 3) uint8. `ensure` must have been called for them before.

        An image that was lost or damaged since then is rendered again with the batch that it came from. Raises StoreError where
        the store does not keep it.
        """
        self.store.fetch([self.key(request) for request in requests])
        stored = {request: self.store.read(self.key(request)) for request in requests}
        lost = [request for request, pixels in stored.items() if pixels is None]
        if lost:
            unknown = [request for request in lost if request not in self._batches]
            if unknown:
                raise ValueError(f"{unknown[0]} was never ensured, so its batch is not known.")
            logger.warning("%d images were lost from %s and are rendered again", len(lost), self.store.folder)
            self._stored -= {self.key(request) for request in lost}
            self._complete(list(dict.fromkeys(self._batches[request] for request in lost)))
            stored |= {request: self.store.read(self.key(request)) for request in lost}
        images = [pixels for request in requests if (pixels := stored[request]) is not None]
        if len(images) < len(requests):
            raise StoreError(
                f"images vanish from {self.store.folder}", "they were lost again right after they were rendered", "check the disk"
            )
        return images

    def read(self, keys: Sequence[str]) -> list[np.ndarray]:
        """The stored images of `keys`, which came from `key`. See `images`."""
        return self.images([self._requests[key] for key in keys])

    def _complete(self, batches: Sequence[tuple[ImageRequest, ...]], spare: Sequence[tuple[ImageRequest, ...]] = ()) -> None:
        self._share(batches)
        waiting = [batch for batch in batches if self._missing(batch)]
        if self._rechecks.wanted:
            self._recheck([batch for batch in batches if batch not in waiting])
        waiting = self._render_batches(waiting, wait=False)
        if waiting:
            self._share(spare)
        for batch in spare if waiting else ():
            waiting = [each for each in waiting if self._missing(each)]
            if waiting and self._missing(batch):
                self._render_batches([batch], wait=False)
        self._render_batches(waiting, wait=True)

    def _share(self, batches: Sequence[tuple[ImageRequest, ...]]) -> None:
        self.store.share([key for batch in batches for key in map(self.key, batch) if key not in self._stored])

    def _recheck(self, batches: Sequence[tuple[ImageRequest, ...]]) -> None:
        """Render a sample of these stored batches again. Raises StoreError where a stored image is not what its model draws."""
        for batch in batches:
            for side in SIDES:
                slots = [request for request in batch if request.side == side]
                if not slots or self._repeats(side) == "not at all":
                    continue
                if self._rechecks.chooses(slots, [self.key(each) for each in slots]):
                    for request, image, place in self.drawn(slots):
                        self._compare(request, image, place)
                    logger.info("rendered %d stored images of the %s again: they are the same", len(slots), side)

    def _repeats(self, side: Side) -> Repeats:
        sampler = self.sampler_of(side)
        if isinstance(sampler, ExternalSampler):
            return sampler.repeats
        return "exactly" if self.device == "cpu" and self.execution.acceleration != "compiled" else "alike"

    def _missing(self, batch: Sequence[ImageRequest]) -> list[ImageRequest]:
        missing = []
        for request in batch:
            key = self.key(request)
            if key in self._stored or key in self.store:
                self._stored.add(key)
            else:
                missing.append(request)
        return missing

    def _render_batches(self, batches: Sequence[tuple[ImageRequest, ...]], wait: bool) -> list[tuple[ImageRequest, ...]]:
        """Render these batches, each while the one before is written. Returns those that other processes render now.

        With `wait` it waits for them, one by one: whoever waits for a lock must hold no other.
        """
        if wait:
            return [batch for batch in batches if not self._render_alone(batch)]
        with Writer() as writer:
            return [batch for batch in batches if not self._render_locked(batch, wait, writer)]

    def _render_alone(self, batch: Sequence[ImageRequest]) -> bool:
        with Writer() as writer:
            return self._render_locked(batch, True, writer)

    def _lock(self, batch: Sequence[ImageRequest]) -> Path:
        return self.store.folder / "locks" / f"{self.key(batch[0])}.lock"

    def _render_locked(self, batch: Sequence[ImageRequest], wait: bool, writer: Writer) -> bool:
        """Draw one batch, and let `writer` store its images and then release its lock. Returns False where the lock is taken."""
        lock = ExitStack()
        if not lock.enter_context(held(self._lock(batch), wait=wait)):
            lock.close()
            return False
        works: list[Callable[[], None]] = []
        try:
            for slots, new in self.parts(batch, self._missing(batch)):
                started = time.monotonic()
                drawn = list(self.drawn(slots))
                self._stored.update(self.key(request) for request in new)  # a later batch need not draw them
                works += [partial(self._keep, *each, each[0] in new) for each in drawn]
                self._count(slots, new, time.monotonic() - started)
        finally:
            writer.hand_over(*works, lock.close)
        return True

    def _keep(self, request: ImageRequest, image: np.ndarray, place: str, is_new: bool) -> None:
        """Store an image that was drawn just now at its `place`, or compare it with the stored one."""
        if not is_new:
            self._compare(request, image, place)
            return
        try:
            self.write(request, image, place)
        except BaseException:
            self._stored.discard(self.key(request))
            raise

    def parts(
        self, batch: Sequence[ImageRequest], missing: Sequence[ImageRequest]
    ) -> Iterator[tuple[list[ImageRequest], list[ImageRequest]]]:
        """The slots of each side of a batch that lacks images, and those of them that it lacks."""
        for side in SIDES:
            new = [request for request in missing if request.side == side]
            if new:
                yield [request for request in batch if request.side == side], new

    def write(self, request: ImageRequest, image: np.ndarray, place: str) -> None:
        """Store an image that was drawn just now at its `place` (`place_of`)."""
        side, prompt, seed, index = request.side, request.prompt, request.seed, request.index
        facts = {"model": side, "prompt": prompt, "seed": seed, "index": index, "place": place}
        self.store.write(self.key(request), image, facts)

    def _compare(self, request: ImageRequest, image: np.ndarray, place: str) -> None:
        """Compare a stored image with the same image as it was drawn just now, if the policy asks for rechecks."""
        if self._rechecks.wanted:
            self._rechecks.compare(request, self.key(request), image, place, self._repeats(request.side))

    def _count(self, slots: Sequence[ImageRequest], new: Sequence[ImageRequest], seconds: float) -> None:
        side = slots[0].side
        logger.info("rendered %d images of the %s in %.1f s, in a batch of %d", len(new), side, seconds, len(slots))
        self.rendered += len(new)
        if slots[0].recipe is None:
            before = self._times.get(side, DrawingTime())
            self._times[side] = DrawingTime(before.images + len(slots), before.seconds + seconds)
        self.on_rendered(len(new))

    def drawn(self, slots: Sequence[ImageRequest]) -> Iterator[tuple[ImageRequest, np.ndarray, str]]:
        """Each request of one side's slots with its image, rendered now in one batch, and its place there (`place_of`)."""
        keys = [self.key(request) for request in slots]
        sampler = self._sampler(slots[0])
        with memory_errors(
            f"while {len(slots)} images were drawn",
            "free memory on it, lower sampling.batch or sampling.size in the policy, or draw with --offload=model",
        ):
            pixels = sampler.sample([request.prompt for request in slots], [request.seed for request in slots])
        for slot, (request, image) in enumerate(zip(slots, pixels, strict=True)):
            yield request, image, place_of(keys, slot)


def covering(row: Sequence[ImageRequest], wanted: Sequence[ImageRequest], size: int) -> list[tuple[ImageRequest, ...]]:
    """The batches of up to `size` images of `row` that hold at least one `wanted` image."""
    needed = set(wanted)
    batches = [tuple(row[start : start + size]) for start in range(0, len(row), size)]
    return [batch for batch in batches if needed.intersection(batch)]
