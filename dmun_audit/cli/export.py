"""`dmun-audit export`: a finished audit for other tools: CTRF, one JSON file, CSV, Parquet. Needs no model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError

if TYPE_CHECKING:
    from dmun_audit.evidence.run import Run

FORMS = ("ctrf", "json", "csv", "parquet")


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("export", help="write a run for other tools: CTRF, audit.json, CSV, Parquet; needs no model")
    parser.add_argument("folder", type=Path, help="the run folder, such as audit-runs/van-gogh-…")
    parser.add_argument(
        "--to",
        action="append",
        choices=FORMS,
        metavar="FORM",
        help=f"{', '.join(FORMS)}; may be given several times (default: all but parquet)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder for the files")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files and name them. Returns 0: the verdict is in the files."""
    from dmun_audit.decisions.checked_run import checked_run

    audit_run, folder = checked_run(arguments.folder), arguments.output
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "", "name a folder with -o")
    if folder.resolve() == audit_run.path.resolve():
        raise UsageError(f"{folder} is the run folder", "its files are sealed by SHA256SUMS", "name another folder with -o")
    folder.mkdir(parents=True, exist_ok=True)
    for form in dict.fromkeys(arguments.to or ("ctrf", "json", "csv")):
        for path in _WRITERS[form](audit_run, folder):
            print(f"wrote {path}")
    return 0


def _ctrf(audit_run: Run, folder: Path) -> list[Path]:
    from dmun_audit.report.exports.ctrf import ctrf

    return [_written(folder / "ctrf.json", json.dumps(ctrf(audit_run), ensure_ascii=False, indent=1))]


def _json(audit_run: Run, folder: Path) -> list[Path]:
    from dmun_audit.report.exports.whole import whole_audit

    return [_written(folder / "audit.json", whole_audit(audit_run).model_dump_json(indent=1))]


def _csv(audit_run: Run, folder: Path) -> list[Path]:
    from dmun_audit.report.exports.tables import case_rows, csv_bytes, image_rows

    tables = {"cases.csv": case_rows(audit_run), "images.csv": image_rows(audit_run)}
    return [_written(folder / name, csv_bytes(rows).decode()) for name, rows in tables.items()]


def _parquet(audit_run: Run, folder: Path) -> list[Path]:
    from dmun_audit.report.exports.tables import case_rows, image_rows, write_parquet

    tables = {"cases.parquet": case_rows(audit_run), "images.parquet": image_rows(audit_run)}
    for name, rows in tables.items():
        write_parquet(rows, folder / name)
    return [folder / name for name in tables]


def _written(path: Path, text: str) -> Path:
    from dmun_audit.store.files import write_atomically

    write_atomically(path, f"{text.rstrip()}\n".encode())
    return path


_WRITERS: dict[str, Callable[[Run, Path], list[Path]]] = {"ctrf": _ctrf, "json": _json, "csv": _csv, "parquet": _parquet}
