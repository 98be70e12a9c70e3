"""A candidate that is a weights file: laid over its base, then compared with what the base was before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dmun_audit._util.hashing import digest
from dmun_audit.models.artifacts.formats import lay_out
from dmun_audit.models.artifacts.layout import Layout, actual_name, canonical_name
from dmun_audit.models.artifacts.lora import adapter_settings, delta
from dmun_audit.models.ema import ema_weights
from dmun_audit.models.files.contents import Contents, OpenContents
from dmun_audit.models.fingerprint import modules, tensor_digest
from dmun_audit.models.loaded import LoadedModel, OpenedPipeline, finish
from dmun_audit.models.overlay import lay_over, pipeline_shapes
from dmun_audit.models.proof import Difference, LoadReport, State, prove
from dmun_audit.models.references import ModelReference
from dmun_audit.models.source_files import Source, confirm_source

MOST_THAT_MAY_STAY = 0.5  # of a component's tensors, before a warning about a file that leaves the rest to the base


def load_over(reference: ModelReference, path: Path, base: OpenedPipeline, device: str, planned: Source | None) -> LoadedModel:
    """Lay the file at `path` over a pipeline like the base's, and compare each changed component with its state before.

    Raises LoadError where the file does not fit, or where it changes nothing.
    """
    pipeline = base.pipeline
    with OpenContents(path) as contents:
        shapes = pipeline_shapes(pipeline)
        layout = lay_out(contents, shapes)
        before = _before(pipeline, layout)
        adapter = lay_over(pipeline, layout, contents)
        difference = _adapter_difference(pipeline, layout, contents) if adapter else Difference()
        for component, state in before.items():
            difference.compare(component, modules(pipeline)[component].state_dict(), state, reference.text)
        ema = ema_weights(contents, layout, before)
        missing = layout.missing(shapes)
        report = LoadReport(
            layout.format,
            layout.matched(),
            missing,
            [*layout.notes, *layout.aside, *_origin(contents), *filter(None, [ema.sentence()])],
            _incomplete(missing, shapes),
        )
        tensors = [[name, tensor_digest(contents.tensor(name))] for name in sorted(layout.used())] if adapter else []
    proof = prove(
        report, difference, name=reference.text, must_differ=reference.kind == "weights", otherwise=ema.only_they_differ()
    )
    of_adapter = digest([adapter.digest, tensors]) if adapter else ""
    both = of_adapter and base.beyond_weights
    beyond_weights = digest([of_adapter, base.beyond_weights]) if both else of_adapter or base.beyond_weights
    opened = OpenedPipeline(pipeline, report, beyond_weights, hashed=base.hashed)
    return finish(reference, opened, proof, device, confirm_source(reference, planned), getattr(adapter, "set_prompts", None))


def _before(pipeline: Any, layout: Layout) -> dict[str, State]:
    """The components whose weights the file will change, as they are before: changed weights get new memory (`overlay`)."""
    touched = {part.component for part in layout.parts} | {name for names in layout.tokens.values() for name in names}
    touched |= set() if layout.adapter else {pair.component for pair in layout.low_rank}
    networks = modules(pipeline)
    return {component: dict(networks[component].state_dict()) for component in sorted(touched)}


def _adapter_difference(pipeline: Any, layout: Layout, contents: Contents) -> Difference:
    """What an adapter adds to weights at full strength; for an adapter without weights to add, the modules that do something."""
    difference = Difference()
    for pair in layout.low_rank:
        if layout.adapter == "spm":
            network = modules(pipeline)[pair.component]
            weight = network.state_dict()[actual_name(network, pair.place)]
            difference.add_change(pair.component, pair.place, delta(pair, contents, torch.float32), weight)
        else:
            names = (pair.up, layout.settings["biases"][pair.place][1])
            difference.add_module(pair.component, any(bool(contents.tensor(name).any()) for name in names))
    changed = {(pair.component, pair.place) for pair in layout.low_rank}
    for component in {pair.component for pair in layout.low_rank}:
        for name, weight in modules(pipeline)[component].state_dict().items():
            if (component, canonical_name(component, name)) not in changed:
                difference.add(component, name, weight, weight)
    return difference


def _incomplete(missing: Mapping[str, int], shapes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{count} of {len(shapes[component])} tensors of the {component.replace('_', ' ')} are not in the file "
        "and stay the base's. They are so few that the file may be cut short"
        for component, count in missing.items()
        if 0 < count < MOST_THAT_MAY_STAY * len(shapes[component])
    ]


def _origin(contents: Contents) -> list[str]:
    base = contents.metadata.get("base_model_id") or adapter_settings(contents.path).get("base_model_name_or_path")
    return [f"the file says that it was made from {base}"] if base else []
