"""Whether test files use an audit, and which case a test is of. Imports only the standard library, so that runs without an audit stay quick."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ASKS_FOR_AUDIT = re.compile(r"^\s*(?:async\s+)?def\s+\w+\([^)]*\baudit\b", re.MULTILINE)
"""A function with the argument `audit`: a test, or a fixture."""

POOLED = "pooled"
"""The name under which pytest's output lists claims over whole groups, as if a test had run each."""


def asks_for_audit(arguments: list[str], folder: Path, patterns: Sequence[str]) -> bool:
    """Whether a test file or conftest under `arguments` uses the fixture `audit`. Reads the files as text and imports nothing."""
    for argument in arguments:
        path = Path(folder, argument.split("::")[0])
        files = [file for pattern in (*patterns, "conftest.py") for file in path.rglob(pattern)] if path.is_dir() else [path]
        for file in sorted({file for file in files if file.suffix == ".py"}):
            try:
                if ASKS_FOR_AUDIT.search(file.read_text(encoding="utf-8", errors="replace")):
                    return True
            except OSError:
                continue
    return False


def case_of(item: pytest.Item) -> tuple[str, str]:
    """The prefix of the audit and the id of the case that parametrises a test; both empty for other tests."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    for value in parameters.values():
        if type(value).__name__ == "Case" and type(value).__module__ == "dmun_audit.plan.case":
            return value.audit, value.id
    return "", ""
