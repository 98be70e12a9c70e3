"""The questions' texts, each in a file of its own. The hash of a file is its version."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from dmun_audit._util.hashing import digest_file

FOLDER = Path(__file__).parent / "templates"


@cache
def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(  # the text goes to a language model, not to a browser: nothing is escaped
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )


def fill(name: str, values: dict[str, Any]) -> str:
    """The question `name` with these values."""
    return _environment().get_template(f"{name}.md").render(values).strip()


def version(name: str) -> str:
    """SHA-256 of the file of the question `name`."""
    return digest_file(FOLDER / f"{name}.md")
