"""The file of labels in a run folder: append-only JSON lines, each naming the evidence and the image that it was made of."""

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
    """One person's answer to one image. `images` is the size of the sample that the person was shown, drawn with `seed`."""

    by: str
    key: str
    answer: str
    at: str  # UTC, ISO 8601
    seed: int
    images: int
    evidence: str  # digest of the evidence, as in the manifest


@dataclass(frozen=True)
class Labels:
    """The labels of one evidence: the latest of every person for every image, and how many lines speak of another evidence."""

    by_person: dict[str, dict[str, Label]]
    foreign: int


def read_labels(folder: Path, evidence: str) -> Labels:
    """Read a run folder's labels; lines that hold none are left out. Raises StoreError for a file that cannot be read."""
    path, foreign = folder / FILE, 0
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise StoreError(f"{path} cannot be read", error.strerror or str(error), "make it readable, or move it away") from None
    found: dict[str, dict[str, Label]] = {}
    for line in content.split(b"\n"):
        label = _parsed(line)
        if label is None:
            continue
        if label.evidence != evidence:
            foreign += 1
            continue
        kept = found.setdefault(label.by, {})
        kept.pop(label.key, None)  # the latest label stands last
        kept[label.key] = label
    return Labels(found, foreign)


def append_label(folder: Path, label: Label) -> None:
    """Write one label and wait until the disk has it. Raises StoreError where it cannot be written."""
    path = folder / FILE
    line = json.dumps(asdict(label), ensure_ascii=False, sort_keys=True).encode() + b"\n"
    try:
        with path.open("ab+") as stream:
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":  # half a line of a process that was killed
                    line = b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise StoreError(f"cannot write {path}", error.strerror or str(error), "free space, then repeat") from None


def _parsed(line: bytes) -> Label | None:
    try:
        held: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(held, dict):
        return None
    texts, numbers = ("by", "key", "answer", "at", "evidence"), ("seed", "images")
    whole = all(isinstance(held.get(name), str) for name in texts) and all(type(held.get(name)) is int for name in numbers)
    if not whole or held["answer"] not in ANSWERS:
        return None
    return Label(**{name: held[name] for name in (*texts, *numbers)})
