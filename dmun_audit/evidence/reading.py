"""Reads evidence and manifests. Only this module turns files into typed records. It also reads format 1 of version 0.1.0."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import from_json

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest_bytes
from dmun_audit.evidence.manifest import EvidenceDigest, Manifest
from dmun_audit.evidence.schema import READ_FORMATS, CaseRecord, JsonObject, without_volatile


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


def read_lines(path: Path, only: Container[int] | None = None) -> Iterator[EvidenceLine]:
    """The lines of an evidence file, one after the other; none if there is no file. `only` are the numbers of wanted lines.

    Only a newline ends a line: a record may contain other line separators. Raises UsageError if the file cannot be read.
    """
    for number, line in _lines(path):
        if (only is None or number in only) and line.strip():
            yield EvidenceLine(number, _parsed(line))


def last_lines(path: Path) -> tuple[dict[str, int], list[int], int]:
    """The number of the last line of every case by case id, the numbers of lines without a case, and the number of the last line.

    The cases are in the order in which they first appear. One line is in memory at a time.
    """
    places: dict[str, int] = {}
    without_case, last = [], 0
    for number, line in _lines(path):
        if not line.strip():
            continue
        last, case_id = number, _case_id(line)
        if case_id is None:
            without_case.append(number)
        else:
            places[case_id] = number
    return places, without_case, last


def _case_id(line: bytes) -> str | None:
    try:
        content = from_json(line)  # several times faster than json
    except ValueError:
        content = _parsed(line)
    case_id = content.get("case_id") if isinstance(content, dict) else None
    return case_id if isinstance(case_id, str) else None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as stream:
            yield from enumerate(stream, start=1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read", error.strerror or str(error), "name another run folder") from None


def latest(lines: Iterable[EvidenceLine]) -> dict[str, EvidenceLine]:
    """The last line of every case by case id, in the order in which the cases first appear."""
    return {line.content["case_id"]: line for line in lines if line.content is not None}


def _parsed(line: bytes) -> JsonObject | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("case_id"), str) else None


def line_digest(content: Mapping[str, object]) -> str:
    """SHA-256 over all fields of a record but `volatile`."""
    return digest_bytes(_as_text(without_volatile(content)))


def evidence_digest(contents: Iterable[Mapping[str, object]]) -> EvidenceDigest:
    """The number of cases and a SHA-256 over all fields but `volatile`. The order of the cases does not matter."""
    return digest_of_lines({str(content["case_id"]): line_digest(content) for content in contents})


def digest_of_lines(digests: Mapping[str, str]) -> EvidenceDigest:
    """The `evidence_digest` of records. `digests` holds the `line_digest` of each record by case id."""
    return EvidenceDigest(cases=len(digests), digest=digest_bytes(_as_text(sorted(digests.items()))))


def digest_before_format_3(contents: Iterable[Mapping[str, object]]) -> EvidenceDigest:
    """The digest of evidence as formats 1 and 2 define it: over all records in one text."""
    parts = sorted((without_volatile(content) for content in contents), key=lambda part: part["case_id"])
    return EvidenceDigest(cases=len(parts), digest=digest_bytes(_as_text(parts)))


def _as_text(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()  # not canonical JSON: an edited file may hold NaN or a lone surrogate


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
