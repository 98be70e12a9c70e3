"""A LoRA file that a user gives: whether it fits a pipeline, and its merge into one, at any strength."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.layout import Layout, actual_name
from dmun_audit.models.files.contents import Contents, OpenContents
from dmun_audit.models.fingerprint import modules, require_finite
from dmun_audit.models.overlay import lay_over, pipeline_shapes

OPTION = "--probe-adapter"


@dataclass(frozen=True)
class UserAdapter:
    """The adapter of an audit: its file or folder, and the digest of its files."""

    path: Path
    digest: str

    def require_fit(self, pipeline: Any) -> None:
        """Raise LoadError if the file is no LoRA, or has a tensor without a place in the pipeline."""
        with OpenContents(self.path, headers_only=True) as contents:
            self._layout(pipeline, contents)

    def merge(self, pipeline: Any, strength: float) -> Any:
        """Add the adapter, times `strength`, to the weights of a pipeline. Changed weights get memory of their own.

        The pipeline may share the memory of its weights with another one. Returns the pipeline.
        """
        import torch

        networks = modules(pipeline)
        with OpenContents(self.path) as contents:
            layout = self._layout(pipeline, contents)
            places = {(pair.component, pair.place) for pair in layout.low_rank}
            places |= {(part.component, part.place) for part in layout.parts}
            before = {(component, place): _weight(networks, component, place).detach() for component, place in places}
            lay_over(pipeline, layout, contents)
        with torch.no_grad():
            for (component, place), old in before.items():
                weight = _weight(networks, component, place)
                weight.copy_(torch.lerp(old.float(), weight.float(), strength))
                require_finite(str(self.path), {place: weight})
        return pipeline

    def _layout(self, pipeline: Any, contents: Contents) -> Layout:
        from dmun_audit.models.artifacts.formats import lay_out

        try:
            layout = lay_out(contents, pipeline_shapes(pipeline))
        except LoadError as error:
            raise LoadError(f"{OPTION}={self.path} does not fit the candidate: {error.what}", error.why, error.remedy) from None
        if layout.adapter or not layout.low_rank:
            raise LoadError(f"{OPTION}={self.path} is no LoRA", f"it was read as {layout.format}", "give the file of a LoRA")
        return layout


def _weight(networks: Any, component: str, place: str) -> Any:
    network = networks[component]
    return network.state_dict(keep_vars=True)[actual_name(network, place)]
