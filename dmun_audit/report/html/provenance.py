"""What the page says of an audit's origin: every hash, seed, setting and version of the manifest, in sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dmun_audit.evidence.schema import Manifest
from dmun_audit.report.formatting import is_number, number, one_line, percent

Row = tuple[str, str]
TOLD_ABOVE = {"components", "blocks"}  # of a load proof: the page has a table of them

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
)


def sections(manifest: Manifest) -> list[tuple[str, list[Row]]]:
    """Headings with their rows (name, value); sections that the manifest lacks are left out."""
    found, content = [], manifest.to_json()
    for heading, keys in _SECTIONS:
        value: Any = content
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        rows = list(_rows(value, ""))
        if rows:
            found.append((heading, rows))
    moments = ("started", "finished", "seconds")
    times = [(key, one_line(content[key])) for key in moments if key in content]
    return [*found, ("Time", times)] if times else found


def _rows(value: Any, name: str) -> Iterator[Row]:
    if isinstance(value, Mapping):
        if {"hits", "trials"} <= value.keys():
            yield name, _rate(value)
            return
        for key, inner in value.items():
            if key in TOLD_ABOVE and name.endswith("load proof"):
                continue
            label = "load proof" if key == "proof" else one_line(key).replace("_", " ")
            yield from _rows(inner, f"{name}, {label}" if name else label)
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping | list) for inner in value):
        for place, inner in enumerate(value, start=1):
            yield from _rows(inner, f"{name}{' ' if name else ''}{place}")
    elif value is not None:
        yield name or "value", _said(value)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value)) or "none"
    return number(value, 6) if isinstance(value, float) else one_line(value)


def _rate(value: Mapping[str, Any]) -> str:
    words = f"{number(value['hits'])} of {number(value['trials'])}"
    for bound, at in (("lower", "at least"), ("upper", "at most")):
        if is_number(value.get(bound)):
            words += f", {at} {percent(value[bound])}"
    return words
