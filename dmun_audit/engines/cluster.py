"""The Ray cluster of an audit: one that exists, or a local one that ends with the audit."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.engines.choice import RAY

REACH = 10.0  # seconds

logger = logging.getLogger(__name__)


class _Connection:
    """This process's connection to Ray. It is shared by all engines of the process, and ends with the last one."""

    users = 0
    is_ours = False  # a caller's own connection stays open
    engine = ""  # what ours was opened for


class Cluster:
    """A connection to Ray. `most` is the number of renderers that have room, and `needs` what each of them takes.

    A cluster with GPUs has one renderer for each GPU. Another one has as many as its cores give `threads` to.
    """

    def __init__(self, engine: str, threads: int) -> None:
        import ray

        self._ray = ray
        _connect(engine)
        _Connection.users += 1
        try:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        except BaseException:
            self.close()
            raise
        gpus = sum(int(node.get("GPU", 0)) for node in nodes)
        cores = sum(int(node.get("CPU", 0)) // threads for node in nodes)
        self.most: int = gpus or cores or 1
        self.needs: dict[str, float] = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": threads}
        logger.info("Ray has %d nodes, with room for %d renderers", len(nodes), self.most)

    def start(self, kind: type, *arguments: Any) -> Any:
        """A new actor of a class. Ray does not start it again when it dies."""
        return self._ray.remote(kind).options(**self.needs, max_restarts=0, max_task_retries=0).remote(*arguments)

    def end(self, actor: Any) -> None:
        """End an actor, also one that is dead."""
        self._ray.kill(actor)

    def close(self) -> None:
        """Disconnect, if this is the last user of a connection that `Cluster` opened. A local cluster ends then."""
        _Connection.users -= 1
        if _Connection.is_ours and not _Connection.users:
            _Connection.is_ours = False
            self._ray.shutdown()


def _connect(engine: str) -> None:
    import ray

    if ray.is_initialized():
        if _Connection.is_ours and _Connection.engine != engine:
            raise UsageError(
                f"--engine={engine} cannot be joined now",
                f"this process still renders with --engine={_Connection.engine}, and Ray joins one cluster at a time",
                "end the other audit first",
            )
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # for a cluster that starts here: nothing is reported to its makers
    address = engine if engine != RAY else os.environ.get("RAY_ADDRESS", "")
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        _reach(address)
        if engine == RAY:
            ray.init(include_dashboard=False, **settings)
        else:
            ray.init(engine, **settings)
    except (ConnectionError, TimeoutError, OSError, RuntimeError, ValueError, AssertionError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UsageError(
            f"--engine={engine} cannot connect to {address or 'the Ray cluster of this machine'}",
            lines[0] if lines else type(error).__name__,
            "check the address, and that the cluster has the same versions of Ray and Python; if it wants a token, set RAY_AUTH_MODE=token",
        ) from None
    _Connection.is_ours, _Connection.engine = True, engine


def _reach(address: str) -> None:
    """Raise OSError at once if nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH):
            pass


def task_error() -> type[Exception]:
    """Ray's class for an exception that the code of an actor raised; its `cause` is that exception."""
    from ray.exceptions import RayTaskError

    return RayTaskError


def loss() -> type[Exception]:
    """Ray's class for whatever happens to actors, nodes and objects."""
    from ray.exceptions import RayError

    return RayError
