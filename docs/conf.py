"""Settings of the documentation site. Build it with: python -m sphinx -q -W --keep-going -b html docs build/docs"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import dmun_audit

ROOT = Path(__file__).parent.parent
project = "dmun_audit"
author = "the authors of dmun_audit"
version = release = dmun_audit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["notebooks/.ipynb_checkpoints"]
root_doc = "index"
smartquotes = False  # two hyphens begin an option

# Markdown. Headings down to the fourth level get an anchor, so that links to them are checked.
myst_heading_anchors = 4

# The API reference, from docstrings in Google style. Single backticks in docstrings are code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

# The look. Furo brings its own styles and scripts and loads nothing from the network.
html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

# Pages that show a file from elsewhere in the repository.
SHOWN = {
    "explanation/calibration-results": "benchmarks/calibration/results.md",
    "explanation/atelier-card": "dmun_audit/atelier/weights/README.md",
    "project/architecture": "ARCHITECTURE.md",
    "project/contributing": "CONTRIBUTING.md",
    "project/changelog": "CHANGELOG.md",
}
_LINK = re.compile(r"(?P<image>!?)\[(?P<label>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def show_file(app: Sphinx, page: str, source: list[str]) -> None:
    """Give a page the text of the file that it shows. Links to files outside of the site become plain text."""
    if page not in SHOWN:
        return
    file = ROOT / SHOWN[page]
    app.env.note_dependency(str(file))
    pages = {ROOT / shown: name for name, shown in SHOWN.items()}

    def on_site(link: re.Match[str]) -> str:
        if "://" in link["target"]:
            return link[0]
        path = Path(os.path.normpath(file.parent / link["target"]))
        path = ROOT / "docs" / f"{pages[path]}.md" if path in pages else path
        if not path.is_relative_to(ROOT / "docs"):
            return link["label"]
        target = os.path.relpath(path, (ROOT / "docs" / page).parent)
        return f"{link['image']}[{link['label']}]({target}{link['anchor'] or ''})"

    source[0] = _LINK.sub(on_site, file.read_text(encoding="utf-8"))


def without_markup(lines: list[str]) -> list[str]:
    """A docstring in which "|x - y|" and "k*" mean themselves. Code in backticks and examples stay as they are."""
    plain, example = [], False
    for line in lines:
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        parts = line.split("`")
        parts[::2] = [re.sub(r"([*|\\]|_(?!\w))", r"\\\1", part) for part in parts[::2]]
        plain.append(line if example else "`".join(parts))
    return plain


def google_style(app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]) -> None:
    """Turn a docstring in Google style into reStructuredText.

    Napoleon as an extension would also read "SHA-256 of the weights: …", the first line of an attribute, as a type and a text.
    """
    lines[:] = without_markup(lines)
    if what not in {"attribute", "property"}:
        lines[:] = GoogleDocstring(lines, Config(napoleon_use_ivar=True), app, what, name, item, options).lines()


def no_arguments(app: Sphinx, what: str, name: str, item: object, *rest: object) -> tuple[str, str] | None:
    """Show no constructor for a protocol: nobody calls it."""
    return ("", "") if getattr(item, "_is_protocol", False) and what == "class" else None


def setup(app: Sphinx) -> None:
    """Register what Sphinx calls."""
    app.connect("source-read", show_file)
    app.connect("autodoc-process-docstring", google_style)
    app.connect("autodoc-process-signature", no_arguments)
