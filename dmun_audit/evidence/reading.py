"""Reads evidence and manifests. Only this module turns files into typed records. It also reads format 1 of version 0.1.0."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest_bytes
from dmun_audit.evidence.schema import READ_FORMATS, CaseRecord, EvidenceDigest, JsonObject, Manifest, without_volatile


@dataclass(frozen=True)
class EvidenceLine:
    """One line of an evidence file: `number` counts from 1, `content` is None for a line that holds no record."""

    number: int
    content: JsonObject | None

    def record(self) -> CaseRecord | None:
        """The typed record; None if the line does not follow the schema. Values are not converted: "5" is no number."""
        if self.content is None:
            return None
        try:
            return CaseRecord.model_validate_json(json.dumps(self.content), strict=True)
        except (ValidationError, RecursionError):
            return None


def read_lines(path: Path) -> list[EvidenceLine]:
    """The lines of an evidence file; empty if there is no file. Raises UsageError if the file cannot be read.

    Only a newline ends a line: a record may contain other line separators.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read", error.strerror or str(error), "name another run folder") from None
    lines = enumerate(content.split(b"\n"), start=1)
    return [EvidenceLine(number, _parsed(line)) for number, line in lines if line.strip()]


def latest(lines: Iterable[EvidenceLine]) -> dict[str, EvidenceLine]:
    """The last line of every case by case id, in the order in which the cases first appear."""
    return {line.content["case_id"]: line for line in lines if line.content is not None}


def _parsed(line: bytes) -> JsonObject | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("case_id"), str) else None


def evidence_digest(contents: Iterable[Mapping[str, object]]) -> EvidenceDigest:
    """The number of cases and a SHA-256 over all fields but `volatile`. The order of the cases does not matter."""
    parts = sorted((without_volatile(content) for content in contents), key=lambda part: part["case_id"])
    text = json.dumps(parts, sort_keys=True)  # not canonical JSON: an edited file may hold NaN or a lone surrogate
    return EvidenceDigest(cases=len(parts), digest=digest_bytes(text.encode()))


def read_manifest(path: Path, remedy: str) -> Manifest | None:
    """The manifest at `path`; None if there is none. Raises UsageError with `remedy` for an unreadable or invalid file."""
    try:
        content = json.loads(path.read_bytes())
        text = json.dumps({"format": 1} | content) if isinstance(content, dict) else ""
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read", str(error), remedy) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no manifest", "it holds no JSON object", remedy)
    if content.get("format", 1) not in READ_FORMATS:
        raise UsageError(
            f"{path} has format {content['format']!r}",
            f"this version of dmun_audit reads the formats {', '.join(map(str, READ_FORMATS))}",
            "use the version of dmun_audit that wrote it",
        )
    try:
        return Manifest.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path} is no manifest of an audit", f"{key}: {first['msg']}", remedy) from None
