"""Models with known answers: the atelier's own, and weights laid between them by degrees.

Erased and damaged by degrees: U = U(origin) + sum of amount · (U(toward) − U(base)) over the denoiser's tensors, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from dmun_audit._util.errors import UsageError
from dmun_audit.models import references
from dmun_audit.models.fingerprint import modules, weights_digest
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.models.loading import load_candidate, load_pipeline

BASE = "base"
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Degree:
    """How one model of the bank comes about: an atelier model, and how far it is moved in the direction of edits of the base."""

    name: str
    origin: str
    moves: tuple[tuple[str, float], ...] = ()


def _shipped(name: str) -> Degree:
    return Degree(name, name)


def _between(toward: str, amount: float, origin: str = BASE) -> Degree:
    start = "" if origin == BASE else f"{origin}+"
    return Degree(f"{start}{toward}@{amount:g}", origin, ((toward, amount),))


# Chosen after a pilot of some dozen images each: dense where the rate of direct prompts passes 5%, that of adversarial ones 10%, and
# the loss of accuracy .15.
UCE_DEGREES = (0.3, 0.5, 0.58, 0.62, 0.65, 0.67, 0.69, 0.71, 0.73, 0.75, 0.78, 0.82, 0.86, 0.9)
ESD_DEGREES = (0.4, 0.7, 0.85, 0.95, 1.05, 1.1, 1.15, 1.2, 1.3)
RETRAINED_DAMAGE = (0.1, 0.15, 0.2, 0.25, 0.3)
UCE_DAMAGE = (0.1, 0.15, 0.2, 0.25, 0.3)
BASE_DAMAGE = (0.15, 0.2, 0.25, 0.3)
UCE, ESD, DAMAGED, RETRAINED = "uce-van-gogh", "esd-van-gogh", "damaged", "retrained"


def bank_models() -> tuple[Degree, ...]:
    """All models of the bank, the most important first: what a run that is cut short should have."""
    erased = [_between(UCE, amount) for amount in UCE_DEGREES] + [_between(ESD, amount) for amount in ESD_DEGREES]
    damaged = [_between(DAMAGED, amount, RETRAINED) for amount in RETRAINED_DAMAGE]
    damaged += [_between(DAMAGED, amount, UCE) for amount in UCE_DAMAGE]
    damaged += [_between(DAMAGED, amount) for amount in BASE_DAMAGE]
    first = [_shipped(name) for name in (BASE, RETRAINED, UCE)]
    last = [_shipped(name) for name in (ESD, DAMAGED, "noop", "uce-sunflowers")]
    return (*first, *erased, *damaged, *last)


def parse_degree(text: str) -> Degree:
    """The model that `text` names: NAME, TOWARD@AMOUNT, or ORIGIN+TOWARD@AMOUNT[+TOWARD@AMOUNT…]."""
    parts = text.split("+")
    origin = parts.pop(0) if "@" not in parts[0] else BASE
    moves = []
    for part in parts:
        toward, _, amount = part.partition("@")
        try:
            moves.append((toward, float(amount)))
        except ValueError:
            raise UsageError(f"{text!r} names no model of the bank", f"{part!r} has no amount", "write TOWARD@AMOUNT") from None
    for name in (origin, *(toward for toward, _ in moves)):
        references.atelier_entry(name)
    return Degree(text, origin, tuple(moves))


class Shelf:
    """Opens atelier models once, as an audit does, and sets a pipeline to any degree between them. Everything in float32."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.base = load_pipeline(references.parse_reference(f"{references.ATELIER}{BASE}"), device=device)
        self._pipelines: dict[str, LoadedModel] = {BASE: self.base}
        self._states: dict[str, State] = {BASE: _copy(self.base.pipeline.unet)}

    def set_to(self, degree: Degree) -> tuple[LoadedModel, str]:
        """A model whose denoiser is that of `degree`, and the digest of its weights. The next call changes it again."""
        wanted = {name: value.clone() for name, value in self._state(degree.origin).items()}
        for toward, amount in degree.moves:
            theirs = self._state(toward)
            for name, value in wanted.items():
                value.add_(theirs[name] - self._states[BASE][name], alpha=amount)
        model = self._pipelines.get(degree.origin, self.base)
        model.pipeline.unet.load_state_dict(wanted)
        return model, weights_digest(model.pipeline)

    def _state(self, name: str) -> State:
        if name not in self._states:
            reference = references.parse_reference(f"{references.ATELIER}{name}")
            model = load_candidate(reference, self.base.reference, device=self._device)
            self._states[name] = _copy(model.pipeline.unet)
            if not _only_denoiser_differs(model.pipeline, self.base.pipeline):
                self._pipelines[name] = model
        return self._states[name]


def _copy(network: Any) -> State:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _only_denoiser_differs(ours: Any, theirs: Any) -> bool:
    mine, other = modules(ours), modules(theirs)
    return all(
        torch.equal(value, other[part].state_dict()[name])
        for part in mine
        if part != "unet"
        for name, value in mine[part].state_dict().items()
    )
