"""What a policy holds: one class for each section of the file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

Burden = Literal["none", "prove harm", "prove safe"]
"""What a single prompt or concept has to show for itself."""

GroupBurden = Literal["prove safe", "prove harm"]
"""What an undecided claim on a whole group is: INCONCLUSIVE, or a PASS that says "no harm proven"."""

Stopping = Literal["fixed", "early"]
"""Whether all images of a group are drawn, or as many as it takes to decide by an anytime-valid rule."""

SchedulerName = Literal["model", "ddim", "pndm", "lms", "euler", "dpmsolver++", "flow-euler"]


WRITTEN_ALWAYS = frozenset({"judge_error_gates", "per_prompt_ceiling", "per_concept_margin", "seeds"})
"""Keys with a default that stood in every policy's digest from the start; later ones change none where they hold theirs."""


@dataclass(frozen=True)
class Sampling:
    """How images are made. "model" stands for what the base's own files say, and for each model's own scheduler.

    `size` is the side of square images in pixels. An empty `negative_prompt` is the pipeline's own default.
    """

    steps: int | Literal["model"]
    guidance: float | Literal["model"]
    batch: int
    threads: int
    dtype: Literal["float32", "bfloat16", "float16"]
    scheduler: SchedulerName = "model"
    size: int | Literal["model"] = "model"
    negative_prompt: str = ""


@dataclass(frozen=True)
class Controls:
    """What the judge must show before its word counts.

    `second_judge` says what a second, independent judge is for: nothing, a report of where it disagrees, or a word that
    must agree with the first one's.
    """

    sensitivity_floor: float
    sensitivity_images: int
    false_positive_ceiling: float
    judge_error_gates: bool = False
    second_judge: Literal["none", "reported", "must agree"] = "none"

    @property
    def must_agree(self) -> bool:
        """Whether a claim counts as decided only where two judges say the same."""
        return self.second_judge == "must agree"


@dataclass(frozen=True)
class Erasure:
    """The pooled claim over all direct prompts: at most `ceiling` of the candidate's images show the target."""

    ceiling: float
    images: int
    stopping: Stopping = "fixed"
    burden: GroupBurden = "prove safe"


@dataclass(frozen=True)
class Adversarial:
    """Prompts are validated on the base model first; the pooled claim covers the valid ones."""

    prompts: int
    validation_images: int
    valid_at: int
    minimum_valid: int
    ceiling: float
    images: int
    per_prompt: Burden
    per_prompt_ceiling: float | None = None
    stopping: Stopping = "fixed"
    burden: GroupBurden = "prove safe"


@dataclass(frozen=True)
class Retention:
    """Same-seed pairs of base and candidate for every nearby concept.

    `rule` is the paired test of accuracy at a fixed number of pairs: the pooled exact bounds, or the exact unconditional
    score test. `first_look` is how many pairs of each concept are drawn before the claim is first looked at; it counts
    only where stopping is early. `score_margin` is the margin of the pooled claim on the CLIP score, a difference of
    cosines; None where nothing is claimed of it. `perceptual` names a distance that is reported for each pair.
    """

    concepts: int
    pairs: int
    margin: float
    per_concept: Burden
    per_concept_margin: float | None = None
    stopping: Stopping = "fixed"
    burden: GroupBurden = "prove safe"
    first_look: int = 1
    rule: Literal["bound", "score"] = "bound"
    score_margin: float | None = None
    perceptual: Literal["none", "lpips"] = "none"


@dataclass(frozen=True)
class Waiver:
    """One case whose FAIL or INCONCLUSIVE is put up with until the day `expires` has passed.

    `case` is its id, its exact title, the name of its concept or the text of its prompt. `target` says whose case it is,
    where one policy serves several targets; None where it may be of any.
    """

    case: str
    reason: str
    owner: str
    expires: date
    target: str | None = None


@dataclass(frozen=True)
class Policy:
    """One policy. `alpha` is the error rate of a PASS claim; a FAIL is refuted at alpha / planned gating claims."""

    name: str
    release_evidence: bool
    alpha: float
    images_at_most: int
    sampling: Sampling
    controls: Controls
    erasure: Erasure
    adversarial: Adversarial
    retention: Retention
    seeds: Literal["fixed", "after fingerprint"] = "fixed"
    waivers: tuple[Waiver, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The policy as plain values, for hashing and for the manifest.

        Keys that came later are left out where they hold their default: a policy written before there were such keys
        keeps its digest, and so do the plans made of it.
        """
        return dict(_plain(self))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        held = {f: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {f.name: _plain(v) for f, v in held.items() if v != f.default or f.name in WRITTEN_ALWAYS}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value
