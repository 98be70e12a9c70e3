"""Sets pipelines to the weights of models with known answers."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.calibration.known_models import BASE, KnownModel
from dmun_audit.models import references
from dmun_audit.models.fingerprint import modules, weights_digest
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.models.loading import load_candidate, load_pipeline

State = dict[str, torch.Tensor]


class ModelMaker:
    """Loads each atelier model once, as an audit does, and sets the weights of its pipeline. Everything is in float32."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.base = load_pipeline(references.parse_reference(f"{references.ATELIER}{BASE}"), device=device)
        self._pipelines: dict[str, LoadedModel] = {BASE: self.base}
        self._states: dict[str, State] = {BASE: _copy(self.base.pipeline.unet)}

    def make(self, model: KnownModel) -> tuple[LoadedModel, str]:
        """A pipeline with the weights of `model`, and the digest of these weights. The next call changes the pipeline."""
        weights = {name: value.clone() for name, value in self._state(model.origin).items()}
        for edit, share in model.edits:
            edited = self._state(edit)
            for name, value in weights.items():
                value.add_(edited[name] - self._states[BASE][name], alpha=share)
        made = self._pipelines.get(model.origin, self.base)
        made.pipeline.unet.load_state_dict(weights)
        return made, weights_digest(made.pipeline)

    def _state(self, name: str) -> State:
        """The denoiser's weights of an atelier model. A model that differs from the base elsewhere keeps its own pipeline."""
        if name not in self._states:
            reference = references.parse_reference(f"{references.ATELIER}{name}")
            model = load_candidate(reference, self.base.reference, device=self._device)
            self._states[name] = _copy(model.pipeline.unet)
            if not _only_denoiser_differs(model.pipeline, self.base.pipeline):
                self._pipelines[name] = model
        return self._states[name]


def _copy(network: Any) -> State:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _only_denoiser_differs(pipeline: Any, base: Any) -> bool:
    parts, base_parts = modules(pipeline), modules(base)
    return all(
        torch.equal(value, base_parts[name].state_dict()[tensor])
        for name in parts
        if name != "unet"
        for tensor, value in parts[name].state_dict().items()
    )
