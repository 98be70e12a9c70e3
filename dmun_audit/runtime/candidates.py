"""Opens the candidates of several audits over one loaded base, one candidate at a time."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.case import Case, Side
from dmun_audit.runtime.loading import AuditRuntime, LoadedBase, open_base
from dmun_audit.runtime.target_audit import TargetAudit

if TYPE_CHECKING:
    from dmun_audit.models.in_memory import InMemoryModel

InMemory = Mapping[tuple[Side, str], "InMemoryModel"]
"""Models that are pipelines in memory, by side and reference."""

logger = logging.getLogger(__name__)


class Candidates:
    """The models of some audits in one process. The base and the judges stay; at most one candidate is in memory.

    `on_rendered` is called with the number of new images after each batch, and with 0 when a candidate is ready to draw.
    `in_memory` are the models that are pipelines in memory, by side and reference.
    """

    def __init__(
        self,
        audits: Sequence[TargetAudit],
        on_rendered: Callable[[int], None] = lambda count: None,
        in_memory: InMemory | None = None,
    ) -> None:
        self._audits = audits
        self._on_rendered = on_rendered
        self._in_memory = in_memory or {}
        self._base: LoadedBase | None = None
        self._open: AuditRuntime | None = None
        self._of: str = ""  # the reference of the open candidate

    @property
    def has_base(self) -> bool:
        """Whether the base and the judges are loaded: an error from now on concerns one candidate."""
        return self._base is not None

    def load_base(self) -> LoadedBase:
        """The base and the judges, loaded once. See `open_base` for errors: they concern all audits."""
        if self._base is None:
            configs = [audit.config for audit in self._audits]
            self._base = open_base(configs, self._on_rendered, self._in_memory.get(("base", configs[0].base)))
        return self._base

    def check(self, audit: TargetAudit, case: Case, worker: str = "main") -> CaseRecord:
        """Decide a case of an audit, with its candidate. Raises LoadError if the candidate cannot be loaded."""
        runtime = self._runtime(audit)
        return audit.check(case, audit.runner(runtime.runner), lambda: runtime.engine.counts, worker)

    def _runtime(self, audit: TargetAudit) -> AuditRuntime:
        """The open candidate of an audit. Another candidate that is open is closed before."""
        candidate = audit.config.candidate
        if self._open is None or self._of != candidate:
            self.close_candidate()
            gc.collect()  # pipelines hold circles of references, also one that was refused after its load
            configs = [each.config for each in self._audits if each.config.candidate == candidate]
            self._open, self._of = (
                self.load_base().with_candidate(configs, self._in_memory.get(("candidate", candidate))),
                candidate,
            )
            self._on_rendered(0)
        return self._open

    def close(self) -> None:
        """Let go of the open candidate and of the base."""
        base, self._base = self._base, None
        try:
            self.close_candidate()
        finally:
            if base is not None:
                base.close()

    def close_candidate(self) -> None:
        """Let go of the open candidate."""
        if self._open is None:
            return
        logger.info("closing %s", self._of)
        for audit in self._audits:
            audit.forget_runner()
        runtime, self._open, self._of = self._open, None, ""
        runtime.close()
