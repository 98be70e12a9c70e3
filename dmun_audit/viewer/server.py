"""Answers the requests of the viewer. Reports are made from the evidence again: no page of a run folder is shown as it lies there."""

from __future__ import annotations

import threading
from http import HTTPStatus
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.loopback import NOT_FOUND, LoopbackServer, Request, Response
from dmun_audit.comparison.method_tables import html_text
from dmun_audit.comparison.methods import methods_table
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.report.html import render_html
from dmun_audit.viewer.pages import error_page, list_page
from dmun_audit.viewer.runs import ListedRun, runs_below

REPORTS_KEPT = 8
"""Pages of reports that are kept in memory."""


class ViewerServer(LoopbackServer):
    """Serves the runs below `folder`: "" is the list, "run/ID" a report, "compare?run=ID&run=ID" a table of methods."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self._pages: dict[tuple[str, float], bytes] = {}
        self._reading = threading.Lock()
        super().__init__(self._answer, port)

    def _answer(self, request: Request) -> Response:
        if request.posted:
            return NOT_FOUND
        runs = {run.id: run for run in runs_below(self.folder)}
        if request.path == "":
            return Response(list_page(self.folder, list(runs.values())).encode())
        kind, _, name = request.path.partition("/")
        try:
            if kind == "run" and name in runs:
                return Response(self._report(runs[name]))
            if request.path == "compare":
                return self._comparison([runs[each] for each in request.query.get("run", []) if each in runs])
        except (UsageError, OSError) as error:
            return Response(error_page(str(error)).encode(), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return NOT_FOUND

    def _report(self, run: ListedRun) -> bytes:
        """The report of a run. A page is made again when the evidence or the manifest changed."""
        changed = max((run.path / name).stat().st_mtime for name in ("manifest.json", "evidence.jsonl"))
        key = (run.id, changed)
        with self._reading:
            if key not in self._pages:
                self._pages[key] = render_html(checked_run(run.path)).encode()
                for old in list(self._pages)[:-REPORTS_KEPT]:
                    del self._pages[old]
            return self._pages[key]

    def _comparison(self, runs: list[ListedRun]) -> Response:
        with self._reading:
            table = methods_table([checked_run(run.path) for run in runs])
        return Response(html_text(table, links=[f"run/{run.id}" for run in runs]).encode())
