"""`dmun-audit inspect`: what a model is, whether it fits its base, and how much of it differs. Nothing is rendered."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmun_audit.models.inspection import HeaderCounts, Inspection, SamplingFacts
    from dmun_audit.models.loaded import LoadedModel

UNITS = ("B", "kB", "MB", "GB", "TB")
BAR = 24  # columns of the longest bar


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("inspect", help="what a model is, whether it fits its base, and what differs; renders nothing")
    parser.add_argument("model", metavar="PATH", help="whatever --model of an audit takes")
    parser.add_argument("--base", help="the model before unlearning; by default, the one that an audit would use")
    parser.add_argument("--quick", action="store_true", help="read headers only: no norms, no digests")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--trust-remote-code", action="store_true", help="let a pipeline folder run code of its own")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Inspect the model and print the result. Returns 0; a model that is refused raises an error."""
    from dmun_audit._util.errors import UsageError
    from dmun_audit.models.headers import cheap_check
    from dmun_audit.models.inspection import inspect_fully, inspect_quickly
    from dmun_audit.models.references import default_base, parse_reference
    from dmun_audit.render.devices import number_format

    if arguments.base is not None and not arguments.base.strip():
        raise UsageError("--base is empty", "perhaps a variable is not set", "give it a value, or leave the option out")
    reference = parse_reference(arguments.model)
    try:
        base = parse_reference(arguments.base) if arguments.base else default_base(reference, None)
    except UsageError:
        if arguments.base:
            raise
        base = None
    if base is not None:
        cheap_check(reference, base, arguments.trust_remote_code)
    inspection = (
        inspect_quickly(reference, base, trust_remote_code=arguments.trust_remote_code)
        if arguments.quick
        else inspect_fully(reference, base, number_format("auto"), arguments.trust_remote_code, _sampling)
    )
    print(json.dumps(inspection.as_dict(), indent=2) if arguments.json else "\n".join(_text(inspection)))
    return 0


def _sampling(model: LoadedModel, base: LoadedModel | None) -> SamplingFacts:
    """Schedulers and their differences, as an audit under the policy `standard` reports them."""
    from dmun_audit._util.errors import UsageError
    from dmun_audit.models.inspection import SamplingFacts
    from dmun_audit.policy import load_policy
    from dmun_audit.render.sampling import differences, open_sampler

    sampling = load_policy("standard").sampling
    try:
        ours = open_sampler(base, sampling, "cpu") if base is not None else None
        samplers = {"candidate": open_sampler(model, sampling, "cpu", ours)} | ({"base": ours} if ours is not None else {})
    except UsageError as error:  # no model of the kind that is audited: what it is can be told all the same
        return SamplingFacts(warnings=[f"an audit would refuse it: {error.what}"])
    schedulers = {
        side: {
            "class": sampler.settings["scheduler"],
            "prediction_type": str(sampler.settings["settings"].get("prediction_type", "epsilon")),
        }
        for side, sampler in samplers.items()
    }
    return SamplingFacts(schedulers, differences(ours, samplers["candidate"]) if ours is not None else [])


def _text(inspection: Inspection) -> Iterator[str]:
    yield f"{inspection.model}: {inspection.format}"
    if inspection.base is not None:
        yield f"  base {inspection.base}"
    if inspection.holds:
        yield ""
    for name, counts in inspection.holds.items():
        yield f"  {name:<16}{_header_line(counts)}"
    for side, scheduler in inspection.schedulers.items():
        whose = "scheduler" if side == "candidate" else "base's scheduler"
        yield f"  {whose:<18}{scheduler['class']}, predicts {scheduler['prediction_type']}"
    if inspection.fit:
        yield ""
        yield from _fit(inspection)
    if inspection.proof is not None and inspection.proof["blocks"]:
        yield ""
        yield from _blocks(inspection.proof["blocks"])
    elif inspection.touched:
        yield ""
        yield "  tensors for each block of the base"
        yield from (f"    {block:<24}{count:>5}" for block, count in inspection.touched.items())
    yield ""
    yield from _digests(inspection)
    if inspection.source_digest is None:
        yield "  headers only: nothing says whether the numbers differ from the base's, or whether they are finite"
    yield from (f"  note: {note}" for note in inspection.notes)
    yield from (f"  WARNING: {warning}" for warning in inspection.warnings)


def _digests(inspection: Inspection) -> Iterator[str]:
    from dmun_audit.models.source_files import DIGEST_AS_LOADED, DIGEST_OF_A_FILE, DIGEST_OF_FILES, DIGEST_OF_TENSORS

    if inspection.files:
        yield f"  of each file: {DIGEST_OF_A_FILE}"
        yield from (f"    {value}  {name}" for name, value in inspection.files.items())
    for name, value, how in (
        ("source", inspection.source_digest, DIGEST_OF_FILES if inspection.files else ""),
        ("weights as loaded", inspection.weights_digest, DIGEST_AS_LOADED),
        ("tensors as loaded", inspection.tensors_digest, DIGEST_OF_TENSORS),
    ):
        if value is not None:
            yield f"  {name:<20}sha256:{value}"
            if how:
                yield f"  {'':<20}{how}"


def _header_line(counts: HeaderCounts) -> str:
    types = ", ".join(f"{count:,} {dtype}" if len(counts.dtypes) > 1 else dtype for dtype, count in counts.dtypes.items())
    return f"{counts.tensors:>6,} tensors, {counts.numbers:,} numbers ({types}), {size_in_words(counts.bytes)}"


def size_in_words(count: float) -> str:
    """A number of bytes with its unit."""
    for unit in UNITS[:-1]:
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {UNITS[-1]}"


def _fit(inspection: Inspection) -> Iterator[str]:
    measured = inspection.proof["components"] if inspection.proof is not None and inspection.base is not None else {}
    rounded = any(counts["rounded"] for counts in measured.values())
    yield f"  {'component':<16}{'matched':>9}{'missing':>9}{'unexpected':>12}" + (
        f"{'changed':>9}" + (f"{'rounded':>9}" if rounded else "") + f"{'|Δ|/|W|':>11}" if measured else ""
    )
    partial = any(counts["missing"] for counts in inspection.fit.values())
    for name, counts in inspection.fit.items():
        line = f"  {name:<16}{counts['matched']:>9,}{counts['missing']:>9,}{0:>12}"
        if name in measured:
            line += f"{measured[name]['changed']:>9,}" + (f"{measured[name]['rounded']:>9,}" if rounded else "")
            line += f"{measured[name]['relative_norm']:>11.2e}"
        yield line
    if partial:
        yield "  missing: places without a tensor in the file; they keep the base's tensors"
    if rounded:
        yield "  rounded: tensors that differ from the base's by rounding to half precision alone; they are no change"


def _blocks(blocks: dict[str, float]) -> Iterator[str]:
    yield "  |Δ|/|W| by block"
    longest = max(blocks.values()) or 1.0
    for block, norm in blocks.items():
        yield f"    {block:<24}{norm:>9.2e}  {'█' * round(BAR * norm / longest)}".rstrip()
