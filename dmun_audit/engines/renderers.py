"""The renderers of one audit: started as they are needed, replaced when they die, each with one task at a time."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.engines.cluster import Cluster, loss, task_error
from dmun_audit.engines.renderer import Job, Opened, Renderer
from dmun_audit.engines.tasks import Task

TRIES = 4  # a task, or the start of a renderer, may be lost so often less one
PATIENCE = 600.0  # seconds until the first renderer must run: a cluster may have to start a machine
SLICE = 5.0  # seconds between two looks at what does not answer

AnyTask = TypeVar("AnyTask", bound=Task)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Opening:
    actor: Any
    running: Any  # the future of `is_there`
    since: float


class Renderers:
    """The renderers for `job` on `cluster`. `confirm` is called with each one that has opened; what it raises ends the audit."""

    def __init__(self, cluster: Cluster, job: Job, confirm: Callable[[Opened], None], kind: type[Renderer] = Renderer) -> None:
        self._cluster = cluster
        self._kind = kind
        self._job = job
        self._confirm = confirm
        self._free: list[Any] = []
        self._opening: dict[Any, _Opening] = {}  # by the future of `open`
        self._busy: dict[Any, tuple[Any, Task]] = {}  # renderer and task by the future of the result
        self._lost_starts = 0  # since a renderer opened last

    def open_first(self) -> None:
        """Open one renderer. Raises what loading raises, and UsageError where the cluster starts none."""
        while not self._free:
            self._start(1)
            self._wait([])

    def run(self, tasks: Iterable[AnyTask], most: int) -> Iterator[tuple[AnyTask, Any]]:
        """Run these tasks, at most `most` of them, and yield each with its result as soon as it is there.

        A task is taken from `tasks` when a renderer is free for it, and one more ahead. Raises the errors of renderers, and
        UsageError where renderers die again and again.
        """
        coming, waiting, mine = iter(tasks), deque[AnyTask](), dict[int, AnyTask]()
        while True:
            while self._free and (waiting or _take(coming, waiting)):
                task = waiting.popleft()
                actor = self._free.pop()
                mine[id(task)] = task
                most -= task.tries == 0
                self._busy[task.start(actor)] = actor, task
            if waiting or _take(coming, waiting):
                self._start(max(most, len(waiting)))
            if not waiting and not any(id(task) in mine for _, task in self._busy.values()):
                return
            for done, result in self._wait(waiting):
                if id(done) not in mine:
                    continue  # of an earlier call, which ended with an error
                if isinstance(result, UsageError):
                    raise result
                yield mine[id(done)], result

    def close(self) -> None:
        """End all renderers."""
        for actor in [
            *self._free,
            *(each.actor for each in self._opening.values()),
            *(each for each, _ in self._busy.values()),
        ]:
            self._end(actor)
        self._free, self._opening, self._busy = [], {}, {}

    def _start(self, wanted: int) -> None:
        """Start renderers until `wanted` are opening, as far as the cluster has room."""
        while len(self._opening) < wanted and len(self._free) + len(self._opening) + len(self._busy) < self._cluster.most:
            actor = self._cluster.start(self._kind, self._job)
            running = actor.is_there.remote()  # an actor answers in order: this comes before the models are loaded
            self._opening[actor.open.remote()] = _Opening(actor, running, time.monotonic())

    def _wait(self, again: MutableSequence[Any]) -> list[tuple[Task, Any]]:
        """Wait until something happens. Returns tasks that are done; tasks that were lost go to the front of `again`."""
        import ray

        done, _ = ray.wait([*self._busy, *self._opening], num_returns=1, timeout=SLICE)
        if not done:
            self._refuse_to_wait_forever()
        results = []
        for future in done:
            if future in self._opening:
                self._opened(self._opening.pop(future).actor, future)
                continue
            actor, task = self._busy.pop(future)
            try:
                results.append((task, ray.get(future)))
                self._free.append(actor)
            except task_error() as error:  # what the libraries raise, as it would be raised here
                self._free.append(actor)
                raise getattr(error, "cause", error) from None
            except loss() as error:
                self._end(actor)
                task.tries += 1
                logger.warning(
                    "a renderer was lost while it %s a batch, which another one does again: %s", task.done, _first_line(error)
                )
                if task.tries >= TRIES:
                    raise _dying(f"{task.tries} renderers died while they {task.done} the same batch", error) from None
                again.insert(0, task)
        return results

    def _opened(self, actor: Any, future: Any) -> None:
        import ray

        try:
            opened = ray.get(future)
        except task_error() as error:
            self._end(actor)
            cause = getattr(error, "cause", error)
            raise LoadError(
                "a renderer cannot load the models", f"{type(cause).__name__}: {_first_line(cause)}", "look at Ray's logs"
            ) from None
        except loss() as error:
            self._end(actor)
            if "creation task" in str(error):  # Ray could not import the class there
                raise LoadError(
                    "dmun_audit cannot be imported for a renderer",
                    _lines(error)[-1],
                    "install the same version of dmun_audit on all machines of the cluster",
                ) from None
            self._lost_starts += 1
            logger.warning("a renderer was lost while it started, and another one starts: %s", _first_line(error))
            if self._lost_starts >= TRIES:
                raise _dying(f"{self._lost_starts} renderers died while they started", error) from None
            return
        if isinstance(opened, UsageError):
            self._end(actor)
            raise opened
        try:
            self._confirm(opened)
        except UsageError:
            self._end(actor)
            raise
        self._lost_starts = 0
        self._free.append(actor)

    def _refuse_to_wait_forever(self) -> None:
        """Raise UsageError if no renderer works or loads, because the cluster starts none."""
        import ray

        if self._busy or self._free or not self._opening:
            return
        waiting = list(self._opening.values())
        running, _ = ray.wait([each.running for each in waiting], num_returns=1, timeout=0)
        if not running and time.monotonic() - min(each.since for each in waiting) > PATIENCE:
            needs = ", ".join(f"{name.removeprefix('num_')} {amount:g}" for name, amount in self._cluster.needs.items() if amount)
            raise UsageError(
                "the cluster starts no renderer",
                f"each needs {needs}, and for {PATIENCE / 60:.0f} minutes none was free",
                "end other work on the cluster, or add machines to it (ray status shows what is taken)",
            )

    def _end(self, actor: Any) -> None:
        with suppress(Exception):  # it may be dead, and the connection closed
            self._cluster.end(actor)


def _take(coming: Iterator[AnyTask], waiting: deque[AnyTask]) -> bool:
    """Move one task from `coming` to `waiting`. Returns whether there was one."""
    task = next(coming, None)
    if task is not None:
        waiting.append(task)
    return task is not None


def _dying(what: str, error: Exception) -> UsageError:
    return UsageError(
        what,
        _first_line(error),
        "look at Ray's logs and at the memory of the nodes: every renderer holds both models and the judge. Run again afterwards: stored images are kept",
    )


def _first_line(error: BaseException) -> str:
    return _lines(error)[0]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
