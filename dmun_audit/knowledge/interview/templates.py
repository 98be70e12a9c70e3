"""The texts of the questions, one file each. The hash of a file is its version."""

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
    return SandboxedEnvironment(  # nothing is escaped: the text goes to a language model, not to a browser
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )


def fill(name: str, values: dict[str, Any]) -> str:
    """The text of the question `name`, filled with `values`."""
    return _environment().get_template(f"{name}.md").render(values).strip()


def version(name: str) -> str:
    """SHA-256 of the template file of the question `name`."""
    return digest_file(FOLDER / f"{name}.md")
