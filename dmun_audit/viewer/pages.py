"""The pages of the viewer itself: the list of runs, and errors. All texts of run folders are untrusted: they are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from dmun_audit.report.content_security import source_hash
from dmun_audit.viewer.runs import ListedRun

TEMPLATES = Path(__file__).parent / "templates"
PAGE_STYLE = Path(__file__).parent.parent / "report" / "templates" / "page.css"


def list_page(folder: Path, runs: Sequence[ListedRun]) -> str:
    """The list, with a filter, a search and boxes for a comparison."""
    fields = {name: sorted({getattr(run, name) for run in runs} - {""}) for name in ("verdict", "target", "policy")}
    return _page("list.html.j2", folder=str(folder), runs=runs, fields=fields)


def error_page(text: str) -> str:
    """An error, with the way back."""
    return _page("error.html.j2", text=text)


def _page(name: str, **values: object) -> str:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    style = PAGE_STYLE.read_text(encoding="utf-8") + (TEMPLATES / "viewer.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "viewer.js").read_text(encoding="utf-8")
    return environment.get_template(name).render(
        **values, style=Markup(style), script=Markup(script), style_hash=source_hash(style), script_hash=source_hash(script)
    )
