"""`dmun-audit spot-check`: a person labels a blinded sample of an audit's images; how far the judge agrees goes into the report."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError

if TYPE_CHECKING:
    from dmun_audit.evidence.run import Run
    from dmun_audit.spot_check.labeling_session import LabelingSession

LONGEST_NAME = 60


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "spot-check", help="label a blinded sample of an audit's images, to see how far its judge can be believed"
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument("--images", type=int, help="size of the sample; default: 40, or what you were asked for before")
    parser.add_argument("--seed", type=int, help="draws the sample; default: random, or that of the labels that are there")
    parser.add_argument("--by", help="whose labels these are; default: your user name")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--browser", action="store_true", help="ask on a page that this machine alone can open")
    where.add_argument("--terminal", action="store_true", help="ask in the terminal; the images lie in a temporary folder")
    parser.add_argument("--port", type=int, default=0, help="the page's port; default: a free one")
    parser.add_argument("--no-open", action="store_true", help="print the page's address and open no browser")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Ask, write every answer down, then rebuild the reports and print what the labels say."""
    from dmun_audit.evidence.run import read_run
    from dmun_audit.report.html import write_html
    from dmun_audit.report.junit import write_junit
    from dmun_audit.report.spot_check import read_spot_check, result_lines
    from dmun_audit.report.text import wrapped

    found = read_run(asked.folder)
    by = _name(asked.by)
    labeling_session = _labeling_session(found, by, asked.images, asked.seed)
    target, kind = _target(found)
    ask = _chosen(asked)
    print(
        f"{len(labeling_session.order)} images to label, {len(labeling_session.answers)} of them labelled already. Sample drawn with --seed {labeling_session.seed}."
    )
    ask(labeling_session, target, kind)
    write_junit(found, asked.folder / "junit.xml")
    write_html(found, asked.folder / "report.html")
    print()
    for line in result_lines(read_spot_check(found), by):
        print("\n".join(wrapped(line, "    ") if "  " not in line else [line]))
    print(f"report: {asked.folder / 'report.html'}")
    return 0


def _labeling_session(found: Run, by: str, amount: int | None, seed: int | None) -> LabelingSession:
    from dmun_audit.spot_check.labeling_session import begin_session
    from dmun_audit.spot_check.labels import read_labels
    from dmun_audit.spot_check.population import judged_images

    if amount is not None and amount < 1:
        raise UsageError(f"--images {amount} is no sample", "it takes at least one image", "give another number")
    if found.altered or found.manifest.exit_code is None:
        raise UsageError(
            f"{found.path} holds no finished audit",
            "labels belong to the evidence that they were made of, and this one may still change",
            "run the audit to its end, then label",
        )
    images = judged_images(found.cases).values()
    return begin_session(found.path, found.digest, images, read_labels(found.path, found.digest), by=by, amount=amount, seed=seed)


def _name(given: str | None) -> str:
    from dmun_audit.report.formatting import one_line

    if given is None:
        try:
            given = getpass.getuser()
        except (OSError, KeyError, ImportError):
            raise UsageError("nobody knows whose labels these are", "this user has no name", "give --by NAME") from None
    name = one_line(given)
    if not name or len(name) > LONGEST_NAME:
        raise UsageError("--by is no name", f"it takes 1 to {LONGEST_NAME} characters that can be printed", "give another one")
    return name


def _target(found: Run) -> tuple[str, str]:
    from dmun_audit.report.formatting import one_line

    target = found.manifest.target
    return one_line(target.name or "the target"), one_line(target.kind)


def _chosen(asked: argparse.Namespace) -> Any:
    """The way of asking: the one that was named, else the browser where there is one, else the terminal."""
    if not asked.terminal and (asked.browser or asked.no_open or _browser_found()):
        return partial(_in_browser, port=asked.port, opened=not asked.no_open)
    if asked.terminal or sys.stdin.isatty():
        return _in_terminal
    raise UsageError(
        "nobody can be asked",
        "there is no browser to open, and standard input is no terminal",
        "run it in a terminal; or give --no-open and open the address that it prints in a browser of yours",
    )


def _browser_found() -> bool:
    screen = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return screen


def _in_terminal(labeling_session: LabelingSession, target: str, kind: str) -> None:
    from dmun_audit.spot_check.terminal import ask_in_terminal

    ask_in_terminal(
        labeling_session, f"Does this show {target}{f' ({kind})' if kind else ''}?", input, partial(print, flush=True)
    )


def _in_browser(labeling_session: LabelingSession, target: str, kind: str, *, port: int, opened: bool) -> None:
    from dmun_audit.report.html.labelling import render_labelling
    from dmun_audit.spot_check.server import LabellingServer

    with LabellingServer(labeling_session, partial(render_labelling, target, kind, labeling_session.by), port) as server:
        print(f"Label here, on this machine: {server.url}", flush=True)
        print("Ctrl-C stops too; labels are kept, and the same command goes on from there.", flush=True)
        if opened:
            webbrowser.open(server.url)
        server.ended.wait()
