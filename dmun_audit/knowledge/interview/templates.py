"""The texts of the questions, one file each. The hash of a file is its version."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, DictLoader, FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from dmun_audit._util.hashing import digest_bytes

FOLDER = Path(__file__).parent / "templates"
SUFFIX = ".md"


class Templates:
    """The built-in questions, with `own` texts in the place of some: their content by name."""

    def __init__(self, own: dict[str, str] | None = None) -> None:
        self.own = own or {}

    @cached_property
    def environment(self) -> SandboxedEnvironment:
        """Where the texts are filled in: code in them can reach nothing but the values that it gets."""
        own = DictLoader({name + SUFFIX: text for name, text in self.own.items()})
        return SandboxedEnvironment(  # nothing is escaped: the text goes to a language model, not to a browser
            loader=ChoiceLoader([own, FileSystemLoader(FOLDER)]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
        )

    def fill(self, name: str, values: dict[str, Any]) -> str:
        """The text of the question `name`, filled with `values`."""
        return self.environment.get_template(name + SUFFIX).render(values).strip()

    def version(self, name: str) -> str:
        """SHA-256 of the text of the question `name`."""
        return digest_bytes(self.own[name].encode() if name in self.own else (FOLDER / (name + SUFFIX)).read_bytes())


BUILT_IN = Templates()


def names() -> list[str]:
    """The names of all questions."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))
