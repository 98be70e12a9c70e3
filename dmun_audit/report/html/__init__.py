"""The audit as one self-contained HTML page, made for people: no network, no script needed to read it."""

from dmun_audit.report.html.page import render_html, write_html

__all__ = ["render_html", "write_html"]
