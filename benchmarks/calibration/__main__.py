"""The auditor audited on models with known answers.

python -m benchmarks.calibration                        resamples audits from the bank: results.json, results.md, the plot (half an hour)
python -m benchmarks.calibration tables                 writes results.md and the plot anew from results.json
python -m benchmarks.calibration bank --out FOLDER      draws and judges the bank of images (minutes on a GPU)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dmun_audit._util.errors import UsageError

HERE = Path(__file__).parent
PLOT = HERE.parent.parent / "docs" / "calibration.svg"


def main() -> int:
    """Run the command that was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--audits", type=int, default=400, help="of each model; ten times as many of the good and the close (400)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (2); they change no result")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling (0)")
    parser.add_argument("--policy", default="standard", help="a built-in policy, or a file (standard)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for results.json and results.md (beside the bank)")
    parser.add_argument("--plot", type=Path, default=PLOT, help="where the plot goes (docs/calibration.svg)")
    parser.set_defaults(run=_calibrate)
    commands = parser.add_subparsers()
    tables = commands.add_parser("tables", help="write the tables and the plot anew")
    tables.set_defaults(run=_write)
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


def _calibrate(asked: argparse.Namespace) -> None:
    from benchmarks.calibration.running import calibrate_auditor

    results = calibrate_auditor(asked.policy, asked.audits, asked.seed, asked.workers)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    _write(asked)


def _write(asked: argparse.Namespace) -> None:
    from benchmarks.calibration.plot import draw
    from benchmarks.calibration.tables import report

    results = json.loads((asked.out / "results.json").read_text())
    (asked.out / "results.md").write_text(report(results))
    asked.plot.write_text(draw(results))
    print(f"{asked.out / 'results.md'} and {asked.plot} written")


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
