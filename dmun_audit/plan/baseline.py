"""The baseline: what an earlier audit saw of an earlier candidate, image by image, to be held against this candidate (--baseline)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest
from dmun_audit._util.untrusted import parse_json, read_within
from dmun_audit.evidence.schema import Number, Record
from dmun_audit.plan.case import ImageRequest

BASELINE = "baseline"
"""The name of the claim group. Its claims share an error rate of their own, so that they change no other claim."""

THRESHOLDS = ("threshold", "threshold_view")
"""The detection thresholds, as the measures of a record and the manifest name them."""

MOST_BYTES, MOST_VALUES = 200_000_000, 5_000_000  # of the file that keeps a baseline


class BaselineUnit(Record):
    """One image of the earlier candidate: its prompt and seed, and what the judge saw."""

    prompt: str
    index: int = Field(ge=0)
    seed: int = Field(ge=0, lt=2**63)
    target_score: Number
    view_score: Number | None = None
    detected: bool
    concept: str = Field(default="", description="The nearby concept of the prompt, if it has one.")
    label: str = Field(default="", description="The label that the judge chose, for a nearby concept.")

    @property
    def request(self) -> ImageRequest:
        """The image of this candidate with the same prompt and seed."""
        return ImageRequest("candidate", self.prompt, self.index, self.seed)


class Baseline(Record):
    """What an earlier audit saw of its candidate. `units` are its images by claim group, in the order of their rounds."""

    run: str = Field(description="The hash of the earlier audit.")
    candidate: str = Field(description="The reference of the earlier candidate.")
    weights: str = Field(description="The digest of its weights as loaded; empty if nobody saw them.")
    verdict: str = Field(description="The verdict of the earlier audit.")
    target: str
    base: str = Field(description="The digest of the base's files there.")
    dossier: str = Field(description="The digest of its dossier.")
    judge: dict[str, str] = Field(description="Digests of the judge, and of the detector if there was one.")
    sampler: dict[str, Any] = Field(description="How images were drawn.")
    thresholds: dict[str, Number] = Field(description="Its detection thresholds, as the measures of a record name them.")
    units: dict[str, Annotated[tuple[BaselineUnit, ...], Field(min_length=1)]] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """SHA-256 of everything."""
        return digest(self.to_json())

    @property
    def facts(self) -> dict[str, Any]:
        """The baseline in the manifest: the earlier audit, its candidate, and the number of images."""
        return {
            "reference": self.candidate,
            "audit_hash": self.run,
            "tensors_digest": self.weights,
            "verdict": self.verdict,
            "images": sum(map(len, self.units.values())),
            "digest": self.digest,
        }


def kept_baseline(path: Path) -> Baseline | None:
    """The baseline that a run folder keeps in the file at `path`; None if there is no such file.

    Raises UsageError if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return Baseline.model_validate(parse_json(read_within(path, MOST_BYTES), most_values=MOST_VALUES))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read", str(error).partition("\n")[0], "use an unchanged copy of the folder") from None


def baseline_text(baseline: Baseline) -> str:
    """The content of the file that keeps a baseline in a run folder."""
    return f"{json.dumps(baseline.to_json(), ensure_ascii=False, indent=1, sort_keys=True)}\n"


def requests_of(units: Sequence[BaselineUnit]) -> list[ImageRequest]:
    """The images of this candidate with the prompts and seeds of earlier images."""
    return [unit.request for unit in units]
