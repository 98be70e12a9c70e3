"""Calibrates the auditor on models with known answers.

python -m benchmarks.calibration                       run all audits; write results.json, results.md and the plot (half an hour)
python -m benchmarks.calibration --quick               run a few audits; exit with 1 if they err more often than promised (20 seconds)
python -m benchmarks.calibration tables                write results.md and the plot again, from results.json
python -m benchmarks.calibration draw --out FOLDER     draw the images of all models and judge them (minutes on a GPU)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dmun_audit._util.errors import UsageError

FOLDER = Path(__file__).parent
PLOT = FOLDER.parent.parent / "docs" / "calibration.svg"
AUDITS, QUICK_AUDITS = 400, 40


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 if the quick calibration fails, 4 for a usage error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the small calibration for continuous integration")
    parser.add_argument(
        "--audits",
        type=int,
        help=f"audits of each model ({AUDITS}; with --quick {QUICK_AUDITS}). Good models and those near a limit get more",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes of the whole calibration (2); they change no result")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling (0)")
    parser.add_argument("--policy", default="standard", help="the policy of the audits: a built-in name or a file (standard)")
    parser.add_argument("--promise", help="with --quick: the policy whose limits and error rate must hold (the same as --policy)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of results.json and results.md (this package)")
    parser.add_argument("--plot", type=Path, default=PLOT, help="file of the plot (docs/calibration.svg)")
    parser.set_defaults(run=_calibrate)
    commands = parser.add_subparsers(title="commands", metavar="")
    tables = commands.add_parser("tables", help="write the tables and the plot again")
    tables.set_defaults(run=_write)
    draw = commands.add_parser("draw", help="draw and judge the images")
    draw.add_argument("--out", type=Path, required=True, help="folder of judged_images.npz and judged_images.json")
    draw.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    draw.add_argument("--models", default="", help="names, separated by commas (all)")
    draw.add_argument("--images", type=int, help="images of each prompt of every kind (each kind has its own number)")
    draw.add_argument("--minutes", type=float, default=60.0, help="start no further model after this time (60)")
    draw.add_argument("--rounds", type=int, default=1, help="parts in which every model's images are made (1)")
    draw.add_argument("--batch", type=int, default=32, help="images drawn at once (32)")
    draw.set_defaults(run=_draw)
    options = parser.parse_args(arguments)
    try:
        return _quick(options) if options.quick else int(options.run(options))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4


def _quick(options: argparse.Namespace) -> int:
    from benchmarks.calibration.quick import ALARM_RATE, quick_table, run_quick
    from dmun_audit.policy import load_policy

    promise = load_policy(options.promise or options.policy)
    results = run_quick(load_policy(options.policy), promise, options.audits or QUICK_AUDITS, options.seed)
    print(quick_table(results))
    broken = [result.requirement.answer for result in results if not result.is_kept]
    if broken:
        print(f"error: audits err more often than the policy {promise.name!r} promises: {'; '.join(broken)}", file=sys.stderr)
        return 1
    print(
        f"Audits err no more often than the policy {promise.name!r} promises. A correct package fails on at most one seed in {1 / ALARM_RATE:,.0f}."
    )
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from benchmarks.calibration.calibrate import calibrate_auditor

    results = calibrate_auditor(options.policy, options.audits or AUDITS, options.seed, options.workers)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return _write(options)


def _write(options: argparse.Namespace) -> int:
    from benchmarks.calibration.plot import draw
    from benchmarks.calibration.tables import report

    results = json.loads((options.out / "results.json").read_text())
    (options.out / "results.md").write_text(report(results))
    options.plot.write_text(draw(results))
    print(f"{options.out / 'results.md'} and {options.plot} written")
    return 0


def _draw(options: argparse.Namespace) -> int:
    from benchmarks.calibration.known_models import known_models, parse_model
    from benchmarks.calibration.making import IMAGES, make_judged_images

    models = [parse_model(name) for name in options.models.split(",")] if options.models else list(known_models())
    scores = make_judged_images(
        models,
        options.out,
        device=options.device,
        images=dict.fromkeys(IMAGES, options.images) if options.images else IMAGES,
        minutes=options.minutes,
        batch=options.batch,
        rounds=options.rounds,
    )
    print(f"{scores.count():,} images in {options.out / 'judged_images.npz'}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
