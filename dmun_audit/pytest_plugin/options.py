"""The options of the audit that a pytest session was given."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from dmun_audit.config.options import Options, is_lost, lost_value
from dmun_audit.engines.choice import refuse_workers

OTHER_FIELDS = frozenset({"target", "knowledge", "ini_base", "root", "world"})
"""Fields of `Options` that are no option of one value: targets and dossiers may be repeated, the rest comes from elsewhere."""


def given_options(config: pytest.Config) -> tuple[Options, list[str], list[str]]:
    """The options that all targets share, then the targets and the dossiers, each in the given order.

    Raises UsageError for an option whose value is lost, and for workers beside an engine that spreads the work itself.
    """
    option = config.option
    names = {field.name for field in fields(Options)} - OTHER_FIELDS
    lost = [name for name in names | {"target", "knowledge"} if is_lost(getattr(option, "dmun_" + name, None))]
    if lost:
        raise lost_value(f"--{min(lost).replace('_', '-')}")
    given = {name: getattr(option, "dmun_" + name, None) for name in names}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    options = Options(**values, ini_base=config.getini("dmun_base"), root=str(config.rootpath))
    if getattr(option, "tx", None):  # the workers of pytest-xdist
        refuse_workers(options.engine)
    targets, knowledge = (getattr(option, "dmun_" + name, None) or [] for name in ("target", "knowledge"))
    return options, targets, knowledge
