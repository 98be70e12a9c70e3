"""The engine that has its batches rendered and judged on a Ray cluster. It cuts rows, keys images and counts as the local engine does."""

from __future__ import annotations

import platform
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit.engines.cluster import Cluster
from dmun_audit.engines.models_to_load import ModelsToLoad
from dmun_audit.engines.renderer import Job, JudgeToOpen, Opened
from dmun_audit.engines.renderers import Renderers
from dmun_audit.engines.tasks import DrawTask, EmbedTask
from dmun_audit.judge.batches import BATCH_SIZE
from dmun_audit.judge.views import View
from dmun_audit.models.external_images import session_id
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.models.probe import confirm_same_probe
from dmun_audit.plan.case import ImageRequest, Side
from dmun_audit.policy import Sampling
from dmun_audit.render.engine import Engine
from dmun_audit.store.files import held, write_atomically
from dmun_audit.store.images import ImageStore

if TYPE_CHECKING:
    from dmun_audit.judge.clip import ClipJudge


class RayEngine(Engine):
    """Renders on a cluster, and embeds images there for the CLIP judges (`Embedder`).

    This process holds `models` too. They give keys and settings, and draw nothing.

    One renderer is opened at once, because its device and libraries are part of every key; all renderers must have the same. A
    renderer that finds the file which this process wrote into the store writes its images there. The images of another one are
    returned and written here.

    Raises UsageError where the cluster starts no renderer, and LoadError where one loads other models than this process.
    """

    def __init__(
        self,
        cluster: Cluster,
        to_load: ModelsToLoad,
        models: dict[Side, LoadedModel],
        sampling: Sampling,
        store: ImageStore,
        on_rendered: Callable[[int], None] = lambda count: None,
    ) -> None:
        super().__init__(models, sampling, store, on_rendered)
        self._cluster = cluster
        self._opened: Opened | None = None  # the first renderer
        folder = store.folder.absolute()
        self._token = folder / "nodes" / uuid.uuid4().hex
        write_atomically(self._token, b"{}")
        weights = {side: model.weights_digest for side, model in models.items()}
        name, url = self._token.relative_to(folder).as_posix(), store.remote.url if store.remote else ""
        job = Job(to_load, sampling, weights, folder, self._token, Path.cwd(), platform.node(), session_id(), url)
        with ExitStack() as opening:
            opening.callback(_remove, self._token)
            if store.remote:
                opening.callback(store.remote.remove, name)
                store.remote.write({name: b"{}"})
            self._renderers = Renderers(cluster, job, self._confirm)
            opening.callback(self._renderers.close)
            self._renderers.open_first()
            self._closing = opening.pop_all()

    def close(self) -> None:
        """End the renderers."""
        self._closing.close()

    @property
    def hardware(self) -> dict[str, object]:
        """Processor, cores and GPU of the first renderer, and how many renderers there may be."""
        assert self._opened is not None
        return {**self._opened.hardware, "renderers": self._cluster.most}

    def _confirm(self, opened: Opened) -> None:
        """Compare a renderer with the first one. Raises LoadError if its images or embeddings would have other keys."""
        first = self._opened or opened
        for one, other, what in (
            (first.environment, opened.environment, "draw different images"),
            (first.judging, opened.judging, "judge images differently"),
        ):
            if differing := sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)):
                name = differing[0]
                raise LoadError(
                    f"renderers of this cluster {what}",
                    f"{name} is {one.get(name)!r} on {first.host} and {other.get(name)!r} on {opened.host}",
                    "use nodes with the same libraries and devices",
                )
        environment = dict(opened.environment) | {"threads": str(self.sampling.threads if opened.device == "cpu" else 0)}
        for side, probe in opened.probes.items():
            confirm_same_probe(self.models[side], probe, self.store.folder, environment)
        self._opened, self.device, self.environment = first, first.device, dict(first.environment)

    def _render_batches(self, batches: Sequence[tuple[ImageRequest, ...]], wait: bool) -> list[tuple[ImageRequest, ...]]:
        if wait:  # one by one: an audit that waits for a lock must hold no other
            return super()._render_batches(batches, wait)
        left: list[tuple[ImageRequest, ...]] = []
        with ExitStack() as locks:
            for task, parts in self._renderers.run(self._tasks(batches, left, locks), len(batches)):
                for part in parts:
                    started = time.monotonic()
                    for request, image, place in part.images:
                        if request in part.new:
                            self.write(request, image, place)
                        else:
                            self._compare(request, image, place)
                    self._stored.update(map(self.key, part.new))
                    self._count(part.slots, part.new, part.seconds + time.monotonic() - started)
                task.held.close()
        return left

    def _tasks(
        self, batches: Sequence[tuple[ImageRequest, ...]], left: list[tuple[ImageRequest, ...]], locks: ExitStack
    ) -> Iterator[DrawTask]:
        """The batches that lack images, each with its lock. Those that another process renders go to `left`."""
        for batch in batches:
            lock = ExitStack()
            if not lock.enter_context(held(self._lock(batch), wait=False)):
                left.append(batch)
            elif missing := self._missing(batch):
                locks.callback(lock.close)
                yield DrawTask(batch, missing, [self.key(request) for request in missing], True, lock)
            else:
                lock.close()

    def drawn(self, slots: Sequence[ImageRequest]) -> Iterator[tuple[ImageRequest, np.ndarray, str]]:
        """Each request of one side's slots with its image, rendered now by a renderer, and its place in the batch."""
        task = DrawTask(tuple(slots), list(slots), [self.key(request) for request in slots], False)
        for _, parts in self._renderers.run([task], 1):
            for part in parts:
                yield from part.images

    # Judging: see `judge.embedder.Embedder`.

    @property
    def judging_environment(self) -> Mapping[str, str]:
        """Libraries and device of the renderers, as far as they decide embeddings."""
        assert self._opened is not None
        return self._opened.judging

    @property
    def images_at_once(self) -> int:
        """One batch of the judge for each renderer."""
        return BATCH_SIZE * self._cluster.most

    def embed(self, judge: ClipJudge, keys: Sequence[str], views: Sequence[View]) -> np.ndarray:
        """See `Embedder.embed`. A renderer reads the images from the store. It is sent those that it cannot read."""
        to_open = JudgeToOpen(judge.reference, judge.digest)
        cut = [list(keys[start : start + BATCH_SIZE]) for start in range(0, len(keys), BATCH_SIZE)]
        tasks = [EmbedTask(to_open, batch, views) for batch in cut]
        vectors: dict[str, np.ndarray] = {}
        while tasks:
            unread = []
            for task, result in self._renderers.run(tasks, len(tasks)):
                if result is None:
                    unread.append(task)
                else:
                    vectors |= zip(task.keys, result, strict=True)
            tasks = [EmbedTask(to_open, task.keys, views, self.read(task.keys)) for task in unread]
        return np.stack([vectors[key] for key in keys])


def _remove(path: Path) -> None:
    """Remove a file that nobody needs any more; an error of the disk is no reason to end an audit."""
    with suppress(OSError):
        path.unlink()
