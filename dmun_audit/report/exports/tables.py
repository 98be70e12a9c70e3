"""Cases and images as flat tables: CSV for every tool, Parquet for data frames (needs pyarrow)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord, ImageRecord
from dmun_audit.report.formatting import csv_cell, report_verdict
from dmun_audit.store.files import write_atomically

Row = dict[str, Any]

CLAIM = ("kind", "hits", "trials", "estimate", "lower", "upper", "threshold", "p_value", "holm")
"""The numbers of a claim that have a column."""


def case_rows(run: Run) -> list[Row]:
    """One row for each case. Each measure that any case has is a column of its own, behind `measure_`."""
    names = sorted({name for case in run.cases for name in case.measures})
    return [_case(case) | {f"measure_{name}": case.measures.get(name) for name in names} for case in run.cases]


def image_rows(run: Run) -> list[Row]:
    """One row for each image of each case: an image that several cases judge has several rows."""
    return [_image(case, image) for case in run.cases for image in case.all_images]


def _case(case: CaseRecord) -> Row:
    concept, prompt = case.concept, case.prompt
    return {
        "case_id": case.case_id,
        "group": case.group,
        "title": case.title,
        "verdict": report_verdict(case),
        "pooled": case.pooled,
        "gating": case.gating,
        "waived": case.is_waived,
        "prompt": prompt.text if prompt else None,
        "strategy": prompt.strategy if prompt else None,
        "language": prompt.language if prompt else None,
        "concept": concept.name if concept else None,
        "role": concept.role if concept else None,
        "relation": concept.relation if concept else None,
        "similarity": concept.similarity if concept else None,
        **{name: getattr(case.claim, name) if case.claim else None for name in CLAIM},
        "seconds": case.volatile.seconds,
    }


def _image(case: CaseRecord, image: ImageRecord) -> Row:
    return {
        "case_id": case.case_id,
        "group": case.group,
        "model": image.model,
        "prompt": image.prompt,
        "index": image.index,
        "seed": None if image.seed is None else str(image.seed),  # 64 bits: a spreadsheet would round it
        "key": image.key,
        "target_score": image.target_score,
        "detected": image.detected,
        "second_score": image.second_score,
        "second_detected": image.second_detected,
        "clip_score": image.clip_score,
        "label": image.label,
        "dose": getattr(image, "dose", None),
        "placebo": getattr(image, "placebo", None),
    }


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV with a head, UTF-8. Texts are on one line; one that a spreadsheet would run as a formula gets a quote before it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows[0].keys() if rows else ())
    writer.writerows([csv_cell(value) for value in row.values()] for row in rows)
    return stream.getvalue().encode()


def write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rows as Parquet. Raises UsageError without pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed", "", "pip install 'dmun_audit[tables]', or leave parquet out"
        ) from None
    names = list(rows[0]) if rows else []
    stream = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({name: [row[name] for row in rows] for name in names}), stream)
    write_atomically(path, stream.getvalue().to_pybytes())
