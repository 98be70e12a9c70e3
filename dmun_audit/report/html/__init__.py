"""The audit as one self-contained HTML page. Readers need no network and no scripts."""

from dmun_audit.report.html.page import render_html, write_html

__all__ = ["render_html", "write_html"]
