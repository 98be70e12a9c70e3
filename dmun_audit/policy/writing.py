"""Writes a policy as a TOML file."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from enum import Enum
from typing import Any

import tomli_w

from dmun_audit.policy.policy import NEVER_HASHED, Policy


def policy_as_toml(policy: Policy) -> str:
    """The policy with all its figures as TOML. `load_policy` reads the same policy from it, with the same digest."""
    figures = {key: value for key, value in asdict(policy).items() if key not in NEVER_HASHED}
    return tomli_w.dumps(_plain(figures))


def _plain(value: Any) -> Any:
    """Values that TOML has. It has no null: keys without a value are left out."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, bool | int | float | str | date) else str(value)
