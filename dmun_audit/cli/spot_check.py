"""`dmun-audit spot-check`: a person labels a blinded sample of an audit's images, and the report shows the agreement."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError

if TYPE_CHECKING:
    from dmun_audit.evidence.run import Run
    from dmun_audit.spot_check.labeling_session import LabelingSession

LONGEST_NAME = 60


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("spot-check", help="label a blinded sample of an audit's images, to check its judge")
    parser.add_argument("folder", metavar="RUN", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument("--images", type=int, help="size of the sample; default: 40, or the size of your earlier sample")
    parser.add_argument("--seed", type=int, help="seed of the sample; default: the seed of the existing labels, or random")
    parser.add_argument("--by", help="name of the person who labels; default: your user name")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--browser", action="store_true", help="ask on a page that only this machine can open")
    where.add_argument("--terminal", action="store_true", help="ask in the terminal; the images are in a temporary folder")
    parser.add_argument("--port", type=int, default=0, help="port of the page; default: a free one")
    parser.add_argument("--no-open", action="store_true", help="print the address of the page and open no browser")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, save every answer, rebuild the reports, print the results."""
    from dmun_audit.decisions.checked_run import checked_run
    from dmun_audit.evidence.checksums import update_checksums
    from dmun_audit.evidence.run_lock import writing
    from dmun_audit.report.attestation import statement
    from dmun_audit.report.files import FILES, write_reports
    from dmun_audit.report.spot_check import read_spot_check, result_lines
    from dmun_audit.report.text import wrapped
    from dmun_audit.spot_check.labels import FILE as LABELS

    audit_run = checked_run(arguments.folder)
    person = _name(arguments.by)
    session = _session(audit_run, person, arguments.images, arguments.seed)
    target, kind = _target(audit_run)
    ask = _way_of_asking(arguments)
    print(f"{len(session.order)} images to label, {len(session.answers)} already labelled. Seed of the sample: {session.seed}.")
    ask(session, target, kind)
    with writing(audit_run.path):
        write_reports(audit_run)
        written = [*FILES, *([LABELS] if (audit_run.path / LABELS).exists() else [])]
        update_checksums(audit_run.path, written, partial(statement, audit_run.manifest, audit_run.cases))
    print()
    for line in result_lines(read_spot_check(audit_run), person):
        print("\n".join(wrapped(line, "    ") if "  " not in line else [line]))
    print(f"report: {arguments.folder / 'report.html'}")
    return 0


def _session(audit_run: Run, person: str, size: int | None, seed: int | None) -> LabelingSession:
    from dmun_audit.spot_check.labeling_session import begin_session
    from dmun_audit.spot_check.labels import read_labels
    from dmun_audit.spot_check.strata import judged_images

    if size is not None and size < 1:
        raise UsageError(f"--images {size} is no sample", "a sample has at least one image", "give another number")
    if audit_run.altered or audit_run.manifest.exit_code is None:
        raise UsageError(
            f"{audit_run.path} holds no finished audit",
            "labels belong to one evidence, and this evidence may still change",
            "run the audit to its end, then label",
        )
    images, labels = judged_images(audit_run.cases).values(), read_labels(audit_run.path, audit_run.digest)
    return begin_session(audit_run.path, audit_run.digest, images, labels, person=person, size=size, seed=seed)


def _name(given: str | None) -> str:
    from dmun_audit.report.formatting import one_line

    if given is None:
        try:
            given = getpass.getuser()
        except (OSError, KeyError, ImportError):
            raise UsageError("the person who labels has no name", "this user has none", "give --by NAME") from None
    name = one_line(given)
    if not name or len(name) > LONGEST_NAME:
        raise UsageError("--by is no name", f"a name has 1 to {LONGEST_NAME} printable characters", "give another one")
    return name


def _target(audit_run: Run) -> tuple[str, str]:
    from dmun_audit.report.formatting import one_line

    target = audit_run.manifest.target
    return one_line(target.name or "the target"), one_line(target.kind)


def _way_of_asking(arguments: argparse.Namespace) -> Callable[[LabelingSession, str, str], None]:
    """The requested way; by default the browser if there is one, otherwise the terminal."""
    if not arguments.terminal and (arguments.browser or arguments.no_open or _has_browser()):
        return partial(_in_browser, port=arguments.port, opened=not arguments.no_open)
    if arguments.terminal or sys.stdin.isatty():
        return _in_terminal
    raise UsageError(
        "nobody can be asked",
        "there is no browser to open, and standard input is no terminal",
        "run the command in a terminal; or give --no-open and open the printed address in a browser",
    )


def _has_browser() -> bool:
    screen = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return screen


def _in_terminal(session: LabelingSession, target: str, kind: str) -> None:
    from dmun_audit.spot_check.terminal import ask_in_terminal

    question = f"Does this show {target}{f' ({kind})' if kind else ''}?"
    ask_in_terminal(session, question, input, partial(print, flush=True))


def _in_browser(session: LabelingSession, target: str, kind: str, *, port: int, opened: bool) -> None:
    from dmun_audit.report.html.labelling import render_labelling
    from dmun_audit.spot_check.server import LabelingServer

    with LabelingServer(session, partial(render_labelling, target, kind, session.person), port) as server:
        print(f"Label here, on this machine: {server.url}", flush=True)
        print("Ctrl-C stops as well. Labels are kept; run the same command again to continue.", flush=True)
        if opened:
            webbrowser.open(server.url)
        server.ended.wait()
