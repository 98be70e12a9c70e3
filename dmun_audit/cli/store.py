"""`dmun-audit store …`: what lies in the store of images, what of it is damaged, and what may go. Needs no model."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 5


def add_to(commands: Any) -> None:
    """Declare the command and its own commands."""
    parser = commands.add_parser("store", help="list, verify and prune the store of images; needs no model")
    store_commands = parser.add_subparsers(dest="store_command", required=True, metavar="COMMAND")
    for name, run, words in (
        ("list", _list, "what it holds, by kind"),
        ("verify", _verify, "name every image and find that is damaged (exit 1 if there is one)"),
        ("prune", _prune, "remove old images and finds; without --yes, only say what would go"),
    ):
        command = store_commands.add_parser(name, help=words)
        command.add_argument("--store", metavar="DIR", help="the store (default: in the user's cache folder)")
        command.set_defaults(run=run)
        if name == "verify":
            command.add_argument(
                "--remove", action="store_true", help="remove what is damaged: it is drawn again when it is needed"
            )
        if name == "prune":
            command.add_argument(
                "--older-than", type=float, required=True, metavar="DAYS", help="what was written more than so many days ago"
            )
            command.add_argument(
                "--keep",
                action="append",
                type=Path,
                default=[],
                metavar="RUN",
                help="keep what this run folder used; may be given several times",
            )
            command.add_argument("--yes", action="store_true", help="remove it")


def _list(arguments: argparse.Namespace) -> int:
    from dmun_audit.store.housekeeping import holdings

    folder = _folder(arguments)
    found = holdings(folder)
    print(folder)
    for each in found:
        written = f"{_day(each.first)} to {_day(each.last)}"
        print(f"  {each.files:>8,}  {_size(each.size):>9}  {written}  {each.words}")
    print(f"  {sum(each.files for each in found):>8,}  {_size(sum(each.size for each in found)):>9}  in all")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from dmun_audit.probes.parts.finds import FindStore
    from dmun_audit.store.housekeeping import damaged

    folder = _folder(arguments)
    finds = FindStore(folder)
    found = list(damaged(folder, lambda key: finds.read(key) is not None))
    for path in found:
        print(f"damaged: {path}")
        if arguments.remove:
            path.unlink(missing_ok=True)
    if found:
        print(
            f"{len(found)} damaged{', removed' if arguments.remove else ': --remove removes them'}; they are made again when they are needed"
        )
    else:
        print(f"{folder}: every image and find is what was written under its key")
    return 1 if found and not arguments.remove else 0


def _prune(arguments: argparse.Namespace) -> int:
    from dmun_audit.store.housekeeping import removable

    if not arguments.older_than >= 0:
        raise UsageError(f"--older-than={arguments.older_than:g} is no number of days", "", "write a number that is 0 or more")
    found = removable(_folder(arguments), arguments.older_than, _used(arguments.keep))
    size = sum(path.stat().st_size for path in found)
    for path in found if arguments.yes else []:
        path.unlink(missing_ok=True)
    for path in found[:SHOWN]:
        print(f"  {path}")
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN:,} more")
    print(f"{len(found):,} files, {_size(size)}: {'removed' if arguments.yes else 'nothing was removed; --yes removes them'}")
    return 0


def _used(runs: Sequence[Path]) -> set[str]:
    """The keys of the images and finds of runs."""
    from dmun_audit.evidence.run import read_run

    cases = [case for path in runs for case in read_run(path).cases]
    calibration = {image.key for case in cases for image in case.calibration or ()}
    finds = {find.key for case in cases if case.probe for find in case.probe.finds}
    return {image.key for case in cases for image in case.all_images} | calibration | finds


def _folder(arguments: argparse.Namespace) -> Path:
    from dmun_audit.config.options import store_named
    from dmun_audit.store.housekeeping import is_store

    folder = store_named(arguments.store)
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder", "an audit makes the store when it first draws", "name another one with --store"
        )
    if not is_store(folder):
        raise UsageError(f"{folder} is no store", "it has no folder that a store has", "name another one with --store")
    return folder


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _size(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
