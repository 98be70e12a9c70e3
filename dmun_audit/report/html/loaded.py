"""The section on the candidate's load proof: matched tensors, and the change of weights by component and block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmun_audit.evidence.manifest import Manifest
from dmun_audit.report.formatting import is_number, one_line

SMALLEST = 0.01  # the shortest visible bar, as a share of the longest bar


@dataclass(frozen=True)
class LoadedView:
    """The candidate's load proof. `components` are rows of text. `blocks` are (name, norm, length of a bar in percent)."""

    format: str
    notes: tuple[str, ...]
    components: tuple[tuple[str, ...], ...]
    blocks: tuple[tuple[str, str, float], ...]


def view_loaded(manifest: Manifest) -> LoadedView | None:
    """The view; None if the manifest has no load proof, as after a stopped run or in an earlier version."""
    proof: Any = manifest.models
    for key in ("candidate", "proof"):
        proof = proof.get(key) if isinstance(proof, Mapping) else None
    if not isinstance(proof, Mapping) or not isinstance(proof.get("components"), Mapping):
        return None
    notes = proof.get("notes")
    return LoadedView(
        one_line(proof.get("format", "")),
        tuple(one_line(note) for note in notes) if isinstance(notes, list) else (),
        tuple(_row(name, facts) for name, facts in proof["components"].items() if isinstance(facts, Mapping)),
        _bars(proof.get("blocks")),
    )


def _row(name: Any, facts: Mapping[str, Any]) -> tuple[str, ...]:
    counts = [_count(facts.get(key)) for key in ("matched", "missing", "unexpected")]
    changed = f"{_count(facts.get('changed'))} of {_count(facts.get('compared'))}" if facts.get("compared") else "not touched"
    return (one_line(name).replace("_", " "), *counts, changed, _norm(facts.get("relative_norm")))


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _norm(value: Any) -> str:
    return "–" if not is_number(value) else "0" if value == 0 else f"{value:.3g}"


def _bars(blocks: Any) -> tuple[tuple[str, str, float], ...]:
    table = (
        {one_line(name): float(norm) for name, norm in blocks.items() if is_number(norm)} if isinstance(blocks, Mapping) else {}
    )
    longest = max(table.values(), default=0.0)
    if longest <= 0:
        return ()
    return tuple((name, _norm(norm), 100 * max(norm / longest, SMALLEST) if norm else 0.0) for name, norm in table.items())
