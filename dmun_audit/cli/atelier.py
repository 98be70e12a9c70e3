"""`dmun-audit atelier build|check|sheet`: rebuilds the atelier from a seed, checks its figures, or draws its contact sheet."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from dmun_audit.models import references

TOLERANCE = 0.03  # allowed difference of a share between machines


def add_to(commands: Any) -> None:
    """Declare the command and its three sub-commands."""
    parser = commands.add_parser("atelier", help="rebuild or check the small text-to-image models that ship with the package")
    parts = parser.add_subparsers(dest="part", required=True, metavar="build|check|sheet")
    build = parts.add_parser(
        "build", help="paint, train, erase; takes hours on two CPU cores; run it again to continue a stopped build"
    )
    build.add_argument("--out", type=Path, required=True, help="folder of the finished weights")
    build.add_argument(
        "--work", type=Path, default=Path("atelier-work"), help="folder of pictures and checkpoints (default: atelier-work)"
    )
    build.add_argument("--seed", type=int, default=0, help="seed of everything that is random (default: 0)")
    build.add_argument("--scale", type=float, default=1.0, help="factor on the number of training steps (default: 1.0)")
    build.add_argument("--workers", type=int, default=2, help="number of processes that paint (default: 2)")
    build.add_argument("--device", default="cpu", help="device to train on, such as cuda (default: cpu)")
    build.set_defaults(run=run_build)
    check = parts.add_parser("check", help="measure the figures of the model card again and compare")
    check.add_argument(
        "--weights", type=Path, default=references.WEIGHTS_FOLDER, help="folder of weights (default: the shipped ones)"
    )
    check.add_argument(
        "--work", type=Path, default=Path("atelier-work"), help="folder of painted pictures (default: atelier-work)"
    )
    check.add_argument("--workers", type=int, default=2, help="number of processes that draw (default: 2)")
    check.add_argument("--write", action="store_true", help="write the figures to the card instead of comparing")
    check.add_argument(
        "--erased", action="store_true", help="measure the erased models instead of the models that they were made from"
    )
    check.set_defaults(run=run_check)
    sheet = parts.add_parser("sheet", help="draw the contact sheet: painted, base, UCE, retrained")
    sheet.add_argument(
        "--weights", type=Path, default=references.WEIGHTS_FOLDER, help="folder of weights (default: the shipped ones)"
    )
    sheet.add_argument("--out", type=Path, default=Path("atelier.jpg"), help="image to write (default: atelier.jpg)")
    sheet.add_argument("--workers", type=int, default=2, help="number of processes that draw (default: 2)")
    sheet.set_defaults(run=run_sheet)


def _print_progress(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def run_build(arguments: argparse.Namespace) -> int:
    """Build everything."""
    from dmun_audit.atelier.build import Lengths, build

    build(
        arguments.out,
        arguments.work,
        seed=arguments.seed,
        lengths=Lengths().scaled(arguments.scale) if arguments.scale != 1 else Lengths(),
        workers=arguments.workers,
        progress=_print_progress,
        device=arguments.device,
    )
    return 0


def run_sheet(arguments: argparse.Namespace) -> int:
    """Draw the sheet."""
    from dmun_audit.atelier.sheet import write_sheet

    write_sheet(arguments.weights, arguments.out, workers=arguments.workers)
    print(f"wrote {arguments.out}")
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Measure and print a table. Returns 1 if a figure misses its bar or differs from the card."""
    from dmun_audit.atelier.figures import BARS, measure, measure_all_erased, missed

    card = arguments.weights / "card.json"
    content: dict[str, Any] = json.loads(card.read_text()) if card.exists() else {}
    part = "erased" if arguments.erased else "figures"
    figures: dict[str, Any]
    if arguments.erased:
        figures = measure_all_erased(arguments.weights, progress=_print_progress)
    else:
        figures = measure(arguments.weights, arguments.work, workers=arguments.workers, progress=_print_progress)
    if arguments.write:
        card.write_text(json.dumps(content | {part: figures}, indent=1) + "\n")
    on_card = _flat(figures if arguments.write else content.get(part, {}))
    print(f"{'figure':44} {'now':>7} {'card':>7}  bar")
    differing = []
    for name, value in _flat(figures).items():
        before = on_card.get(name)
        if before is None or abs(before - value) > TOLERANCE:
            differing.append(name)
        side, bar = BARS.get(name, ("", 0.0))
        shown = f"{100 * before:6.1f}%" if before is not None else "      –"
        print(f"{name:44} {100 * value:6.1f}% {shown}  {f'{side} {100 * bar:.0f}%' if side else ''}")
    problems = [
        *([] if arguments.erased else missed(figures)),
        *(f"{name} differs from the card by more than {100 * TOLERANCE:.0f} points" for name in differing),
    ]
    for problem in problems:
        print("MISSED: " + problem, file=sys.stderr)
    return 1 if problems else 0


def _flat(figures: dict[str, Any]) -> dict[str, float]:
    """The figures that are compared, by name. Figures of an erased model are named MODEL.FIGURE."""
    flat = {name: value for name, value in figures.items() if isinstance(value, float)}
    models = {name: table for name, table in figures.items() if isinstance(table, dict) and not name.endswith("_each")}
    return flat | {f"{model}.{name}": value for model, table in models.items() for name, value in table.items()}
