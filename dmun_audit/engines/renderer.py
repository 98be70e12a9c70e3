"""A renderer: a process of a cluster that holds the models of an audit, draws batches, and embeds images for the CLIP judge."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit import __version__
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.engines.models_to_load import ModelsToLoad
from dmun_audit.judge.views import View, view_all
from dmun_audit.plan.case import ImageRequest, Side
from dmun_audit.policy import Sampling
from dmun_audit.render import devices

if TYPE_CHECKING:
    import numpy as np

    from dmun_audit.judge.clip import ClipJudge
    from dmun_audit.models.probe import Probe
    from dmun_audit.render.engine import Engine
    from dmun_audit.store.images import ImageStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What a renderer needs to draw for an audit.

    `weights` are the digests of the weights as the deciding process loaded them. `folder` is that process's current folder.
    `token` is the file that it wrote into the store, with a random name. A store in object storage has a `url`, and the token lies
    there too. `session` is its `external_images.session_id`.
    """

    models: ModelsToLoad
    sampling: Sampling
    weights: Mapping[Side, str]
    store: Path
    token: Path
    folder: Path
    host: str
    session: str
    url: str = ""
    version: str = __version__


@dataclass(frozen=True)
class Opened:
    """A renderer that is ready. `environment` decides its pixels, and `judging` its embeddings.

    Models that could be probed have their `probes` here.
    """

    host: str
    device: str
    environment: Mapping[str, str]
    judging: Mapping[str, str]
    hardware: Mapping[str, object]
    probes: Mapping[Side, Probe]
    shares_store: bool


@dataclass(frozen=True)
class JudgeToOpen:
    """A CLIP judge, with the digest that it has in the deciding process."""

    reference: str
    digest: str


@dataclass(frozen=True, eq=False)
class Part:
    """One side of a batch as it was drawn: its `slots`, those that were `new`, and the time it took.

    `images` are those that the renderer has not stored, each with its request and its place.
    """

    slots: list[ImageRequest]
    new: list[ImageRequest]
    seconds: float
    images: list[tuple[ImageRequest, np.ndarray, str]]


class Renderer:
    """The actor. An error that the user can act on is returned, because Ray would wrap a raised one."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._engine: Engine | None = None
        self._shares_store = False
        self._judges: dict[str, ClipJudge] = {}  # by reference

    def is_there(self) -> bool:
        """An answer, as soon as the process runs."""
        return True

    def open(self) -> Opened | UsageError:
        """Load the models. The error is a LoadError where they are not those of the deciding process."""
        try:
            return self._open()
        except UsageError as error:
            return self._placed(error)

    def render(
        self, batch: Sequence[ImageRequest], missing: Sequence[ImageRequest], keys: Sequence[str], stores: bool
    ) -> list[Part] | UsageError:
        """Draw the sides of `batch` with `missing` images, whose keys are `keys`. With `stores`, write these into a shared store."""
        try:
            return self._render(batch, missing, keys, stores and self._shares_store)
        except UsageError as error:
            return self._placed(error)

    def embed(
        self, judge: JudgeToOpen, keys: Sequence[str], views: Sequence[View], images: Sequence[np.ndarray] | None
    ) -> np.ndarray | UsageError | None:
        """Unit vectors (n, d) float32 of the images of `keys`, each changed by the `views` in turn.

        The renderer reads the images from the store if they are not given. It returns None if the store lacks one of them. It
        returns a LoadError if it cannot open the judge, or if the judge has another digest here than in the deciding process.
        """
        try:
            return self._embed(judge, keys, views, images)
        except UsageError as error:
            return self._placed(error)

    def _open(self) -> Opened:
        job = self._job
        if job.version != __version__:
            raise LoadError(
                f"a renderer has dmun_audit {__version__}",
                f"this process has {job.version}",
                "install the same version everywhere",
            )
        if job.folder.is_dir():
            os.chdir(job.folder)  # relative references mean the same there
        devices.let_idle_threads_sleep()
        from dmun_audit.models.external_images import join_session
        from dmun_audit.render.engine import Engine
        from dmun_audit.store.environment import judging_environment, rendering_environment

        devices.use_threads(job.sampling.threads)
        join_session(job.session)
        device = devices.choose_device()
        models = job.models.load(device)
        for side, model in models.items():
            if model.weights_digest != job.weights[side]:
                raise LoadError(
                    f"{model.reference.text} has other weights for a renderer than for this process",
                    f"digest {model.weights_digest[:16]}… there, {job.weights[side][:16]}… here",
                    "put the same files on all machines",
                )
        store, self._shares_store = self._store()
        self._engine = Engine(models, job.sampling, store)
        probes = {side: model.probe for side, model in models.items() if model.probe is not None}
        return Opened(
            platform.node(),
            device,
            rendering_environment(device),
            judging_environment(device),
            devices.describe_hardware(),
            probes,
            self._shares_store,
        )

    def _store(self) -> tuple[ImageStore, bool]:
        """The store, and whether it is that of the deciding process: the same folder, or the same URL."""
        from dmun_audit.store.images import ImageStore
        from dmun_audit.store.remote import local_part

        job = self._job
        if job.url and not job.token.is_file():
            try:
                store = ImageStore(local_part(job.url))
                name = f"{job.token.parent.name}/{job.token.name}"
                if store.remote and name in store.remote.read([name]):
                    return store, True
            except UsageError as error:
                logger.warning("this renderer cannot open %s, and sends its images: %s", job.url, error.in_a_line)
        return ImageStore(job.store), job.token.is_file()

    def _render(
        self, batch: Sequence[ImageRequest], missing: Sequence[ImageRequest], keys: Sequence[str], stores: bool
    ) -> list[Part]:
        engine = self._engine
        assert engine is not None
        for request, key in zip(missing, keys, strict=True):
            if engine.key(request) != key:
                raise LoadError(
                    f"a renderer would draw another image of {request.prompt!r} than this process asks for",
                    "its models, settings or libraries give the image another key",
                    "install the same versions and models on all machines",
                )
        parts = []
        for slots, new in engine.parts(batch, missing):
            started, returned = time.monotonic(), []
            for request, image, place in engine.drawn(slots):
                if stores and request in new:
                    engine.write(request, image, place)
                else:
                    returned.append((request, image, place))
            parts.append(Part(slots, new, time.monotonic() - started, returned))
        return parts

    def _embed(
        self, judge: JudgeToOpen, keys: Sequence[str], views: Sequence[View], images: Sequence[np.ndarray] | None
    ) -> np.ndarray | None:
        assert self._engine is not None
        read = [self._engine.store.read(key) for key in keys] if images is None else images
        seen = [image for image in read if image is not None]
        if len(seen) < len(keys):
            return None
        return self._judge(judge).embed_images(view_all(views, seen))

    def _judge(self, wanted: JudgeToOpen) -> ClipJudge:
        """The judge, opened when it is first asked."""
        if wanted.reference not in self._judges:
            from dmun_audit.judge.clip import ClipJudge

            judge = ClipJudge(wanted.reference, devices.choose_device())
            if judge.digest != wanted.digest:
                raise LoadError(
                    f"judge {wanted.reference!r} is another one for a renderer than for this process",
                    f"digest {judge.digest[:16]}… there, {wanted.digest[:16]}… here",
                    "put the same files on all machines, and install the same versions there",
                )
            self._judges[wanted.reference] = judge
        return self._judges[wanted.reference]

    def _placed(self, error: UsageError) -> UsageError:
        """The error, with the name of the machine where it is another one than the user's."""
        here = platform.node()
        return error if here == self._job.host else type(error)(f"on {here}: {error.what}", error.why, error.remedy)
