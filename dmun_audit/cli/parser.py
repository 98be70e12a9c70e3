"""The argument parser of all commands: it suggests the nearest word and has `--log-level`."""

from __future__ import annotations

import argparse
import difflib
import logging
import sys
from typing import Any, NoReturn

from dmun_audit._util.errors import UsageError

LOG_LEVELS = ("debug", "info", "warning", "error")


class CommandParser(argparse.ArgumentParser):
    """A parser with `--log-level` that suggests the nearest word for a mistyped command or choice, and raises UsageError for bad input.

    The parsers of its sub-commands are of this class too. `given` in what it parses holds the names of the options whose value is
    not their default.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_argument(
            "--log-level",
            type=str.lower,
            choices=LOG_LEVELS,
            metavar="LEVEL",
            default=argparse.SUPPRESS,  # or else the default of a sub-command would replace a level given before it
            help=f"write log messages to standard error: {', '.join(LOG_LEVELS)}",
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError, whose exit code is 4. (argparse would print all options and end with 2, which stands for Ctrl-C here.)"""
        raise UsageError(message, "", f"see {self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does it, but unknown arguments are an error of the command that they were given to, whose help lists the known."""
        parsed, unknown = super().parse_known_args(args, namespace)
        options = {action.dest: action.default for action in self._actions if action.option_strings}
        given = {name for name, default in options.items() if getattr(parsed, name, default) != default}
        parsed.given = getattr(parsed, "given", frozenset()) | given
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:  # Python 3.11 would make an empty list of it
            raise UsageError(
                f"{action.option_strings[-1]}=-- has no value", "-- alone ends the options of a command line", "give it a value"
            )
        return super()._get_values(action, arg_strings)  # type: ignore[misc]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = list(map(str, action.choices or ()))
        if choices and str(value) not in choices:
            nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
            known = f"did you mean {nearest[0]!r}?" if nearest else f"choose from {', '.join(choices)}"
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}; {known}")


def show_log(level: str | None) -> None:
    """Write the package's log messages from `level` on to standard error; None changes nothing."""
    if level is not None:
        logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("dmun_audit").setLevel(level.upper())
