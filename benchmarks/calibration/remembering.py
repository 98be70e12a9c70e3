"""The product's pure functions remember their answers while audits are resampled: the same counts come up again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from dmun_audit.audit import runner as auditing
from dmun_audit.audit import sequential_sampler as drawing

from dmun_audit.decisions import conclude as concluding
from dmun_audit.decisions import group_claims as deciding
from dmun_audit.plan import plan as planning
from dmun_audit.verdict.sequential import SequentialClaim

Record = dict[str, Any]
_MEMORY = 200_000


def _remember(function: Any) -> Any:
    return lru_cache(maxsize=_MEMORY)(function)


def _remember_requests(function: Any) -> Any:
    known = _remember(function)
    return lambda side, prompts, *numbers, **named: known(side, tuple(prompts), *numbers, **named)


def _remember_record(function: Any) -> Any:
    known = _remember(function)

    def copied(kind: str, decision: Any) -> Record:
        record = known(kind, decision)
        return record | {"claim": dict(record["claim"])}

    return copied


_REMEMBERED: list[tuple[Any, str, Any]] = [
    *((SequentialClaim, name, _remember) for name in ("step", "log_harm", "upper", "lower", "needed")),
    *((deciding, name, _remember) for name in ("rate_at_most", "accuracy_loss_at_most", "score_loss_at_most")),
    *((auditing, name, _remember) for name in ("rate_at_most", "rate_at_least")),
    (planning, "seed_of", _remember),
    *((room, "requests_for", _remember_requests) for room in (planning, drawing)),
    *((room, "as_record", _remember_record) for room in (auditing, concluding)),
]


@contextmanager
def remembered() -> Iterator[None]:
    """The same counts come up in audit after audit: within this, the product's pure functions remember their answers."""
    before = [getattr(owner, name) for owner, name, _ in _REMEMBERED]
    for (owner, name, how), function in zip(_REMEMBERED, before, strict=True):
        setattr(owner, name, _memory(how, function))
    try:
        yield
    finally:
        for (owner, name, _), function in zip(_REMEMBERED, before, strict=True):
            setattr(owner, name, function)


@lru_cache(maxsize=64)
def _memory(how: Any, function: Any) -> Any:
    return how(function)
