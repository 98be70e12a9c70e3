"""Models with known answers: the atelier's own, and models whose edits are applied in part.

The weights of a model are U(origin) + Σ share · (U(edited) - U(base)) over the tensors of the denoiser U, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit._util.errors import UsageError
from dmun_audit.models import references

BASE, RETRAINED = "base", "retrained"
UCE, ESD, DAMAGED = "uce-van-gogh", "esd-van-gogh", "damaged"


@dataclass(frozen=True)
class KnownModel:
    """A recipe for weights: the atelier model to start from, and the shares of edits to add to it."""

    name: str
    origin: str
    edits: tuple[tuple[str, float], ...] = ()


def _atelier(name: str) -> KnownModel:
    return KnownModel(name, name)


def _in_part(edit: str, share: float, origin: str = BASE) -> KnownModel:
    start = "" if origin == BASE else f"{origin}+"
    return KnownModel(f"{start}{edit}@{share:g}", origin, ((edit, share),))


# Chosen after a pilot with some dozen images of each. The shares lie closest together where the rate of direct prompts passes
# 5%, the rate of adversarial prompts 10%, and the loss of accuracy .15.
UCE_SHARES = (0.3, 0.5, 0.58, 0.62, 0.65, 0.67, 0.69, 0.71, 0.73, 0.75, 0.78, 0.82, 0.86, 0.9)
ESD_SHARES = (0.4, 0.7, 0.85, 0.95, 1.05, 1.1, 1.15, 1.2, 1.3)
DAMAGE_OF_RETRAINED = (0.1, 0.15, 0.2, 0.25, 0.3)
DAMAGE_OF_UCE = (0.1, 0.15, 0.2, 0.25, 0.3)
DAMAGE_OF_BASE = (0.15, 0.2, 0.25, 0.3)


def known_models() -> tuple[KnownModel, ...]:
    """All models, the most important first: these are drawn even if the time runs out."""
    erased = [_in_part(UCE, share) for share in UCE_SHARES] + [_in_part(ESD, share) for share in ESD_SHARES]
    damaged = [_in_part(DAMAGED, share, RETRAINED) for share in DAMAGE_OF_RETRAINED]
    damaged += [_in_part(DAMAGED, share, UCE) for share in DAMAGE_OF_UCE]
    damaged += [_in_part(DAMAGED, share) for share in DAMAGE_OF_BASE]
    first = [_atelier(name) for name in (BASE, RETRAINED, UCE)]
    last = [_atelier(name) for name in (ESD, DAMAGED, "noop", "uce-sunflowers")]
    return (*first, *erased, *damaged, *last)


def parse_model(text: str) -> KnownModel:
    """The model of a name such as NAME, EDIT@SHARE or ORIGIN+EDIT@SHARE[+EDIT@SHARE…].

    Raises UsageError where a share is missing or no number, or where the atelier has no such model.
    """
    parts = text.split("+")
    origin = parts.pop(0) if "@" not in parts[0] else BASE
    edits = []
    for part in parts:
        edit, _, share = part.partition("@")
        try:
            edits.append((edit, float(share)))
        except ValueError:
            raise UsageError(f"{text!r} names no model", f"{part!r} gives no share of the edit", "write EDIT@SHARE") from None
    for name in (origin, *(edit for edit, _ in edits)):
        references.atelier_entry(name)
    return KnownModel(text, origin, tuple(edits))
