"""`dmun-audit view`: the runs of a folder in the browser: a list, each report, comparisons. Needs no model."""

from __future__ import annotations

import argparse
import threading
import webbrowser
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "view", help="show all runs of a folder in the browser, with filters and comparisons; needs no model"
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("audit-runs"), help="a folder with run folders (default: audit-runs)"
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port on this machine (default: a free one)")
    parser.add_argument("--no-open", action="store_true", help="print the address and open no browser")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve the folder until Ctrl-C. Returns 0."""
    from dmun_audit.viewer.server import ViewerServer

    if not arguments.folder.is_dir():
        raise UsageError(f"{arguments.folder} is no folder", "", "name a folder with run folders, such as audit-runs")
    with ViewerServer(arguments.folder, arguments.port) as server:
        print(f"The runs of {arguments.folder}, on this machine: {server.url}", flush=True)
        print("Ctrl-C ends it.", flush=True)
        if not arguments.no_open:
            webbrowser.open(server.url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
    return 0
