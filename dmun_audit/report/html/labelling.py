"""The page on which a person labels images. It contains only the question and opaque names of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from dmun_audit.report.content_security import source_hash

TEMPLATES = Path(__file__).parent.parent / "templates"


def render_labelling(target: str, kind: str, by: str, images: Sequence[Mapping[str, Any]]) -> str:
    """The page as text. `images` are in display order, each with `id` and `answer`. Texts are escaped."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    style = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "labelling.css"))
    script = (TEMPLATES / "labelling.js").read_text(encoding="utf-8")
    return environment.get_template("labelling.html.j2").render(
        target=target,
        kind=kind,
        by=by,
        images=list(images),
        style=Markup(style),
        script=Markup(script),
        style_hash=source_hash(style),
        script_hash=source_hash(script),
    )
