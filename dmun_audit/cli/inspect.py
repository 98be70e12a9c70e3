"""`dmun-audit inspect`: what a model is, whether it fits its base and how far it is from it, without rendering anything."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmun_audit.models.inspection import Holding, Inspection

UNITS = ("B", "kB", "MB", "GB", "TB")
BAR = 24  # columns of the longest bar


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("inspect", help="what a model is, whether it fits its base, and what differs; renders nothing")
    parser.add_argument("model", metavar="PATH", help="whatever --model of an audit takes")
    parser.add_argument("--base", help="the model before unlearning; else as an audit would find it")
    parser.add_argument("--quick", action="store_true", help="read headers only: no norms, no digests")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--trust-remote-code", action="store_true", help="let a pipeline folder run code of its own")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Inspect and print. 0 where the model loads and fits; a refusal is an error."""
    from dmun_audit._util.errors import UsageError
    from dmun_audit.models.headers import cheap_check
    from dmun_audit.models.inspection import inspect_fully, inspect_quickly
    from dmun_audit.models.references import default_base, parse_reference

    if asked.base is not None and not asked.base.strip():
        raise UsageError("--base is empty", "perhaps a variable is not set", "give it a value, or leave the option out")
    reference = parse_reference(asked.model)
    try:
        base = parse_reference(asked.base) if asked.base else default_base(reference, None)
    except UsageError:
        if asked.base:
            raise
        base = None
    if base is not None:
        cheap_check(reference, base, asked.trust_remote_code)
    look = inspect_quickly if asked.quick else inspect_fully
    found = look(reference, base, trust_remote_code=asked.trust_remote_code)
    print(json.dumps(found.as_dict(), indent=2) if asked.json else "\n".join(_text(found)))
    return 0


def _text(found: Inspection) -> Iterator[str]:
    yield f"{found.model}: {found.format}"
    if found.base is not None:
        yield f"  base {found.base}"
    if found.holds:
        yield ""
    for name, holding in found.holds.items():
        yield f"  {name:<16}{_words(holding)}"
    if found.fit:
        yield ""
        yield from _fit(found)
    if found.proof is not None and found.proof["blocks"]:
        yield ""
        yield from _blocks(found.proof["blocks"])
    elif found.touched:
        yield ""
        yield "  tensors for each block of the base"
        yield from (f"    {block:<24}{count:>5}" for block, count in found.touched.items())
    yield ""
    for name, value in (("source", found.source_digest), ("weights as loaded", found.weights_digest)):
        if value is not None:
            yield f"  {name:<20}sha256:{value}"
    if found.source_digest is None:
        yield "  headers only: not looked at is whether the numbers differ from the base's, and whether they are finite"
    yield from (f"  note: {note}" for note in found.notes)
    yield from (f"  WARNING: {warning}" for warning in found.warnings)


def _words(holding: Holding) -> str:
    types = ", ".join(f"{count:,} {dtype}" if len(holding.dtypes) > 1 else dtype for dtype, count in holding.dtypes.items())
    return f"{holding.tensors:>6,} tensors, {holding.numbers:,} numbers ({types}), {size_in_words(holding.bytes)}"


def size_in_words(count: float) -> str:
    """A number of bytes with its unit."""
    for unit in UNITS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {UNITS[-1]}"


def _fit(found: Inspection) -> Iterator[str]:
    measured = found.proof["components"] if found.proof is not None and found.base is not None else {}
    yield f"  {'component':<16}{'matched':>9}{'missing':>9}{'unexpected':>12}" + (
        f"{'changed':>9}{'|Δ|/|W|':>11}" if measured else ""
    )
    partial = any(counts["missing"] for counts in found.fit.values())
    for name, counts in found.fit.items():
        line = f"  {name:<16}{counts['matched']:>9,}{counts['missing']:>9,}{0:>12}"
        if name in measured:
            line += f"{measured[name]['changed']:>9,}{measured[name]['relative_norm']:>11.2e}"
        yield line
    if partial:
        yield "  missing: places for which the file holds nothing; they keep the base's tensors"


def _blocks(blocks: dict[str, float]) -> Iterator[str]:
    yield "  |Δ|/|W| by block"
    longest = max(blocks.values()) or 1.0
    for block, norm in blocks.items():
        yield f"    {block:<24}{norm:>9.2e}  {'█' * round(BAR * norm / longest)}".rstrip()
