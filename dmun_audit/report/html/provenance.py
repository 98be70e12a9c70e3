"""The section on provenance: all hashes, seeds, settings and versions of the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dmun_audit.evidence.manifest import Manifest
from dmun_audit.models.source_files import DIGEST_AS_LOADED, DIGEST_OF_A_FILE, DIGEST_OF_FILES, DIGEST_OF_TENSORS
from dmun_audit.report.formatting import is_number, number, one_line, percent

Row = tuple[str, str]
DIGESTS = (
    f"How the digests of models are made. SHA-256 of a file: {DIGEST_OF_A_FILE}. Source digest: {DIGEST_OF_FILES}. Weights digest: "
    f"{DIGEST_AS_LOADED}. Tensors digest: {DIGEST_OF_TENSORS}."
)
SHOWN_ELSEWHERE = {"components", "blocks"}  # parts of a load proof: the page has a table of them

_SECTIONS = (  # heading, keys of the manifest from the outside in
    ("Candidate", ("models", "candidate")),
    ("Base", ("models", "base")),
    ("Judge", ("judge",)),
    ("Dossier", ("dossier",)),
    ("Plan", ("plan",)),
    ("Policy", ("policy",)),
    ("Seeds", ("seeds",)),
    ("Sampler", ("sampler",)),
    ("Sampler of the candidate", ("candidate_sampler",)),
    ("Images", ("images",)),
    ("Versions", ("versions",)),
    ("Hardware", ("hardware",)),
    ("Source code", ("git",)),
    ("Attempts", ("attempts",)),
    ("Other audits of these weights", ("earlier_attempts",)),
)


def sections(manifest: Manifest) -> list[tuple[str, list[Row]]]:
    """Headings with their rows (name, value), without empty sections."""
    titled_rows, content = [], manifest.to_json()
    for heading, keys in _SECTIONS:
        value: Any = content
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        rows = list(_rows(value, ""))
        if rows:
            titled_rows.append((heading, rows))
    moments = ("started", "finished", "seconds")
    times = [(key, one_line(content[key])) for key in moments if key in content]
    return [*titled_rows, ("Time", times)] if times else titled_rows


def _rows(value: Any, name: str) -> Iterator[Row]:
    if isinstance(value, Mapping):
        if {"hits", "trials"} <= value.keys():
            yield name, _rate(value)
            return
        for key, inner in value.items():
            if key in SHOWN_ELSEWHERE and name.endswith("load proof"):
                continue
            if key == "files" and isinstance(inner, Mapping):
                yield from ((f"SHA-256 of {one_line(file)}", _text(digest)) for file, digest in inner.items())
                continue
            label = "load proof" if key == "proof" else one_line(key).replace("_", " ")
            yield from _rows(inner, f"{name}, {label}" if name else label)
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping | list) for inner in value):
        for place, inner in enumerate(value, start=1):
            yield from _rows(inner, f"{name}{' ' if name else ''}{place}")
    elif value is not None:
        yield name or "value", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return number(value, 6) if isinstance(value, float) else one_line(value)


def _rate(value: Mapping[str, Any]) -> str:
    text = f"{number(value['hits'])} of {number(value['trials'])}"
    for bound, prefix in (("lower", "at least"), ("upper", "at most")):
        if is_number(value.get(bound)):
            text += f", {prefix} {percent(value[bound])}"
    return text
