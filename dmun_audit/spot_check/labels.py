"""The file of labels in a run folder: JSON lines, only ever appended to. Each label names its image and its evidence."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import StoreError

FILE = "spot_check.jsonl"
ANSWERS = ("yes", "no", "unsure")


@dataclass(frozen=True)
class Label:
    """The answer of one person to one image; one line of the file.

    Attributes:
        by: The person.
        key: The image.
        answer: One of `ANSWERS`.
        at: Time of the answer, UTC, ISO 8601.
        seed: Seed of the sample.
        images: Requested size of the sample.
        evidence: Digest of the evidence, as in the manifest.
    """

    by: str
    key: str
    answer: str
    at: str
    seed: int
    images: int
    evidence: str


@dataclass(frozen=True)
class Labels:
    """The labels of one evidence: the latest label of every person for every image, and the number of foreign labels.

    A foreign label belongs to a different evidence.
    """

    by_person: dict[str, dict[str, Label]]
    foreign: int


def read_labels(folder: Path, evidence: str) -> Labels:
    """Read the labels of a run folder. Lines without a valid label are skipped.

    Raises StoreError for a file that cannot be read.
    """
    path, foreign = folder / FILE, 0
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise StoreError(f"{path} cannot be read", error.strerror or str(error), "make it readable, or move it away") from None
    by_person: dict[str, dict[str, Label]] = {}
    for line in content.split(b"\n"):
        label = _parsed(line)
        if label is None:
            continue
        if label.evidence != evidence:
            foreign += 1
            continue
        labels = by_person.setdefault(label.by, {})
        labels.pop(label.key, None)  # the latest label is the last one
        labels[label.key] = label
    return Labels(by_person, foreign)


def append_label(folder: Path, label: Label) -> None:
    """Write one label and wait until it is on the disk. Raises StoreError if it cannot be written."""
    path = folder / FILE
    line = json.dumps(asdict(label), ensure_ascii=False, sort_keys=True).encode() + b"\n"
    try:
        with path.open("ab+") as stream:
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":  # a killed process left an incomplete line
                    line = b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise StoreError(f"cannot write {path}", error.strerror or str(error), "free space, then repeat") from None


def _parsed(line: bytes) -> Label | None:
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    texts, numbers = ("by", "key", "answer", "at", "evidence"), ("seed", "images")
    valid = all(isinstance(fields.get(name), str) for name in texts) and all(type(fields.get(name)) is int for name in numbers)
    if not valid or fields["answer"] not in ANSWERS:
        return None
    return Label(**{name: fields[name] for name in (*texts, *numbers)})
