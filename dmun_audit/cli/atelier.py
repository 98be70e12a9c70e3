"""`dmun-audit atelier build|check|sheet`: rebuilds the atelier from a seed, or measures the figures of its card again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from dmun_audit.models import references

TOLERANCE = 0.03  # of a share, between machines


def add_to(commands: Any) -> None:
    """Add the command with its three parts."""
    parser = commands.add_parser("atelier", help="rebuild or check the small world that ships with the package")
    parts = parser.add_subparsers(dest="part", required=True, metavar="build|check|sheet")
    build = parts.add_parser("build", help="paint, train, erase: hours on two CPU cores; a stopped build goes on where it stood")
    build.add_argument("--out", type=Path, required=True, help="folder for the finished weights")
    build.add_argument(
        "--work", type=Path, default=Path("atelier-work"), help="folder for pictures and checkpoints (default: atelier-work)"
    )
    build.add_argument("--seed", type=int, default=0, help="everything is drawn from it (default: 0)")
    build.add_argument("--scale", type=float, default=1.0, help="length of all trainings, times this (default: 1.0)")
    build.add_argument("--workers", type=int, default=2, help="processes that paint (default: 2)")
    build.add_argument("--device", default="cpu", help="device to train on, such as cuda (default: cpu)")
    build.set_defaults(run=run_build)
    check = parts.add_parser("check", help="measure the card's figures again and compare")
    check.add_argument(
        "--weights", type=Path, default=references.WEIGHTS_FOLDER, help="folder of weights (default: the shipped ones)"
    )
    check.add_argument(
        "--work", type=Path, default=Path("atelier-work"), help="folder for painted pictures (default: atelier-work)"
    )
    check.add_argument("--workers", type=int, default=2, help="processes that draw (default: 2)")
    check.add_argument("--write", action="store_true", help="write the figures into the card instead of comparing")
    check.set_defaults(run=run_check)
    sheet = parts.add_parser("sheet", help="draw the contact sheet: painted, base, UCE, retrained")
    sheet.add_argument(
        "--weights", type=Path, default=references.WEIGHTS_FOLDER, help="folder of weights (default: the shipped ones)"
    )
    sheet.add_argument("--out", type=Path, default=Path("atelier.jpg"), help="image to write (default: atelier.jpg)")
    sheet.add_argument("--workers", type=int, default=2, help="processes that draw (default: 2)")
    sheet.set_defaults(run=run_sheet)


def _tell(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def run_build(asked: argparse.Namespace) -> int:
    """Build everything and write the card."""
    from dmun_audit.atelier.build import Lengths, build

    build(
        asked.out,
        asked.work,
        seed=asked.seed,
        lengths=Lengths().scaled(asked.scale) if asked.scale != 1 else Lengths(),
        workers=asked.workers,
        tell=_tell,
        device=asked.device,
    )
    return 0


def run_sheet(asked: argparse.Namespace) -> int:
    """Draw the sheet."""
    from dmun_audit.atelier.sheet import write_sheet

    write_sheet(asked.weights, asked.out, workers=asked.workers)
    print(f"wrote {asked.out}")
    return 0


def run_check(asked: argparse.Namespace) -> int:
    """Measure, print a table, and fail where a bar is missed or a figure differs from the card."""
    from dmun_audit.atelier.figures import BARS, measure, missed

    card = asked.weights / "card.json"
    figures = measure(asked.weights, asked.work, workers=asked.workers, tell=_tell)
    known: dict[str, Any] = json.loads(card.read_text()) if card.exists() else {}
    if asked.write:
        card.write_text(json.dumps(known | {"figures": figures}, indent=1) + "\n")
    stated = figures if asked.write else known.get("figures", {})
    print(f"{'figure':44} {'now':>7} {'card':>7}  bar")
    differs = []
    for name, value in figures.items():
        if not isinstance(value, float):
            continue
        before = stated.get(name)
        if before is None or abs(before - value) > TOLERANCE:
            differs.append(name)
        way, bar = BARS.get(name, ("", 0.0))
        shown = f"{100 * before:6.1f}%" if before is not None else "      –"
        print(f"{name:44} {100 * value:6.1f}% {shown}  {f'{way} {100 * bar:.0f}%' if way else ''}")
    problems = [
        *missed(figures),
        *(f"{name} differs from the card by more than {100 * TOLERANCE:.0f} points" for name in differs),
    ]
    for problem in problems:
        print("MISSED: " + problem, file=sys.stderr)
    return 1 if problems else 0
