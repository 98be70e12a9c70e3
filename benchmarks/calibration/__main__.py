"""The auditor audited on models with known answers.

python -m benchmarks.calibration bank --out FOLDER      draws and judges the bank of images (minutes on a GPU)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dmun_audit.errors import UsageError


def main() -> int:
    """Run the command that was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    bank = commands.add_parser("bank", help="draw and judge the bank of images")
    bank.add_argument("--out", type=Path, required=True, help="folder for bank.npz and bank.json")
    bank.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    bank.add_argument("--models", default="", help="names, separated by commas (default: all)")
    bank.add_argument("--images", type=int, help="images of each prompt of every kind (default: each kind's own number)")
    bank.add_argument("--minutes", type=float, default=60.0, help="stop cleanly after this time (default: 60)")
    bank.add_argument("--rounds", type=int, default=1, help="parts in which every model's images are made (default: 1)")
    bank.add_argument("--batch", type=int, default=32, help="images drawn at once (default: 32)")
    bank.set_defaults(run=_bank)
    asked = parser.parse_args()
    try:
        asked.run(asked)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    return 0


def _bank(asked: argparse.Namespace) -> None:
    from benchmarks.calibration.banking import EACH, make_bank
    from benchmarks.calibration.models import bank_models, parse_degree

    degrees = [parse_degree(name) for name in asked.models.split(",")] if asked.models else list(bank_models())
    images = dict.fromkeys(EACH, asked.images) if asked.images else EACH
    bank = make_bank(
        degrees, asked.out, device=asked.device, images=images, minutes=asked.minutes, batch=asked.batch, rounds=asked.rounds
    )
    print(f"{bank.images():,} images in {asked.out / 'bank.npz'}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
