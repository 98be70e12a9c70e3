"""How long attacks took on this machine: seconds for an image and for a gradient step, by base. An estimate for the next audit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dmun_audit.store.files import write_atomically


@dataclass(frozen=True)
class Speed:
    """Seconds for one image, and for one gradient step; None where none was taken yet."""

    image: float | None = None
    gradient_step: float | None = None

    def seconds(self, images: int, gradient_steps: int) -> float | None:
        """The time for so much; None if it is not known."""
        if (images and self.image is None) or (gradient_steps and self.gradient_step is None):
            return None
        return images * (self.image or 0.0) + gradient_steps * (self.gradient_step or 0.0)


def read_speed(store: Path, base: str) -> Speed:
    """What was measured with the base of that digest."""
    try:
        values = json.loads(_path(store, base).read_text(encoding="utf-8"))
        return Speed(**{name: float(value) for name, value in values.items() if value is not None})
    except (OSError, ValueError, TypeError, AttributeError):
        return Speed()


def keep_speed(store: Path, base: str, measured: Speed) -> None:
    """Keep what was measured just now. What was not measured stays as it was."""
    known = asdict(read_speed(store, base)) | {name: value for name, value in asdict(measured).items() if value is not None}
    write_atomically(_path(store, base), json.dumps(known).encode())


def _path(store: Path, base: str) -> Path:
    return store / "speeds" / f"{base}.json"
