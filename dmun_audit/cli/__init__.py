"""The command `dmun-audit`. Each command has a module with two functions: `add_to` declares it, `run` runs it."""

from __future__ import annotations

import argparse
import io
import logging
import os
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

from dmun_audit import __version__
from dmun_audit._util.errors import FolderOfRuns, UsageError
from dmun_audit._util.workflow_commands import guarded

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The parser of `dmun-audit` with all its commands. The documentation's reference is written from it."""
    from dmun_audit.cli import (
        atelier,
        card,
        compare,
        dossier,
        export,
        init,
        inspect,
        report,
        reproduce,
        requests,
        schema,
        sign,
        spot_check,
        store,
        summary,
        track,
        verify,
        view,
    )
    from dmun_audit.cli.parser import CommandParser

    parser = CommandParser(prog="dmun-audit", description="Audit unlearning in text-to-image diffusion models.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    reading = (report, view, compare, export, summary, card, track)
    for command in (init, dossier, inspect, requests, *reading, reproduce, sign, verify, spot_check, store, schema, atelier):
        command.add_to(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Bad input ends in one clear message and exit code 4."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a sign gets another one, and no traceback
    with redirect_stdout(guarded(sys.stdout)), redirect_stderr(guarded(sys.stderr)):
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    from dmun_audit.cli.messages import error_text
    from dmun_audit.cli.parser import show_log

    try:
        parsed = build_parser().parse_args(arguments)
    except UsageError as error:
        print(f"ERROR: {error_text(error)}", file=sys.stderr)
        return 4
    show_log(getattr(parsed, "log_level", None))
    started = time.monotonic()
    try:
        code = int(parsed.run(parsed))
        sys.stdout.flush()
    except UsageError as error:
        said = _with_command(error, arguments) if isinstance(error, FolderOfRuns) else error
        print(f"ERROR: {error_text(said)}", file=sys.stderr)
        code = 4
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        code = 2
    logger.info("command %s: exit code %d after %.1f s", parsed.command, code, time.monotonic() - started)
    return code


def _with_command(error: FolderOfRuns, arguments: Sequence[str] | None) -> UsageError:
    """The same error with the command of the user, in which the first run of the folder is in place of the folder.

    Only an argument that names a run is replaced: an option may name the same folder. The error stays as it is if an option named the run.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    folder, meant = os.path.normpath(error.path), str(error.runs[0])
    before, changed = _named_runs(words), list(words)
    for place, word in enumerate(words):
        if os.path.normpath(os.path.expanduser(word)) == folder:
            replaced = [*words[:place], meant, *words[place + 1 :]]
            if _named_runs(replaced) != before:
                changed[place] = meant
    return error if changed == words else error.of(str(error.path), shlex.join(["dmun-audit", *changed]))


def _named_runs(words: Sequence[str]) -> list[str]:
    """The arguments of a command line that name run folders."""
    try:
        parsed = build_parser().parse_args(words)
    except UsageError:
        return []
    return [str(path) for path in (getattr(parsed, "folder", None), *getattr(parsed, "runs", ())) if path is not None]
