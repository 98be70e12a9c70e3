"""Settings of the documentation site. Build it with: python -m sphinx -q -W --keep-going -b html docs build/docs"""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "dmun_audit"
author = "the authors of dmun_audit"
version = release = _PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["notebooks/.ipynb_checkpoints"]
root_doc = "index"
smartquotes = False  # two hyphens begin an option

# Markdown. Headings down to the fourth level get an anchor, so that links to them are checked.
myst_heading_anchors = 4
myst_links_external_new_tab = False

# The API reference, from docstrings in Google style. Single backticks in docstrings are code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False

# The look. Furo brings its own styles and scripts and loads nothing from the network.
html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
