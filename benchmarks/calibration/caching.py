"""A cache for the package's statistics while audits are resampled: audit after audit asks for the same counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

from dmun_audit.claim_groups import controls, rates, retention
from dmun_audit.plan import case
from dmun_audit.verdict import sequential

_CACHED: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (rates, ("claim_record", "rate_at_most")),
    (controls, ("claim_record", "rate_at_least", "rate_at_most")),
    (retention, ("claim_record", "accuracy_loss_at_most")),
    (sequential.SequentialClaim, ("step", "log_harm", "upper", "lower", "needed")),
    (case, ("seed_of",)),
)
"""Pure functions of hashable arguments, by module or class."""


@contextmanager
def cached_statistics() -> Iterator[None]:
    """Within this context, the package's statistics answer from a cache. Their answers stay the same."""
    originals = [(owner, name, getattr(owner, name)) for owner, names in _CACHED for name in names]
    for owner, name, function in originals:
        setattr(owner, name, _with_cache(function))
    try:
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


@cache
def _with_cache(function: Any) -> Any:
    """The function with a cache, one for all contexts of this process."""
    return lru_cache(maxsize=200_000)(function)
