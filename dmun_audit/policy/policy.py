"""A whole policy: its sections, and the rules between them."""

from __future__ import annotations

import dataclasses
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from dmun_audit.policy.sections import (
    SECTION,
    SMALLEST_SHARE,
    Adversarial,
    Composition,
    Controls,
    Count,
    Diversity,
    Erasure,
    Flag,
    Fresh,
    OwnSettings,
    Probes,
    Retention,
    Sampling,
    Substitute,
    Text,
    Triggers,
    Unrelated,
    Waiver,
    broken_rule,
)

HASHED_AT_DEFAULT = frozenset({"judge_error_gates", "per_prompt_ceiling", "per_concept_margin", "release_evidence", "seeds"})
"""The keys with a default that stand in every digest. A key outside this set stands there only if it differs from its default."""

NEVER_HASHED = frozenset({"extends"})
"""The keys that say where the figures come from, and not what they are."""


@dataclass(frozen=True, config=SECTION)
class Policy:
    """The thresholds, error rates and numbers of images of an audit."""

    name: str
    """The name of the policy in the terminal and in reports. A policy that extends another one may leave it out."""

    alpha: Annotated[float, Field(strict=True, ge=SMALLEST_SHARE, lt=0.5)]
    """The error rate of a PASS. A FAIL has the error rate alpha divided by the number of planned gating claims."""

    images_at_most: Count
    """The largest number of images that the whole audit may need."""

    sampling: Sampling
    """How the images are made."""

    controls: Controls
    """What the judge must show before its findings count."""

    erasure: Erasure
    """The claim over all direct prompts."""

    adversarial: Adversarial
    """The claim over all valid adversarial prompts."""

    retention: Retention
    """The claim over all nearby concepts."""

    seeds: Literal["fixed", "after fingerprint"] = "fixed"
    """Whether the audit's seed is 0, or follows from the candidate's weights, the policy's figures, the dossier and the option --nonce
    ("after fingerprint"). The option --audit-seed comes first."""

    release_evidence: Flag = True
    """What policies of earlier versions say of themselves. It is no longer read: reports compare every figure with the built-in policy
    release."""

    fresh: Fresh | None = None
    """The claim over prompts that are drawn after the candidate's weights are known. Without the section there is none."""

    triggers: Triggers | None = None
    """Direct prompts with random triggers. Without the section there are none."""

    own_settings: OwnSettings | None = None
    """The claim on erasure under the candidate's own settings. Without the section there is none."""

    substitute: Substitute | None = None
    """The claims on what the candidate draws in place of the target. Without it, empty images are only reported."""

    composition: Composition | None = None
    """The claim on the subjects of nearby concepts. Without this section there is none."""

    diversity: Diversity | None = None
    """The claim on the variety of the pictures of nearby concepts. Without this section there is none."""

    probes: Probes | None = None
    """Attacks by somebody who has the weights. Without this section none is tried."""

    unrelated: Unrelated | None = None
    """The claim on plain prompts far from the target. Without this section there is none."""

    groups: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """The figures of claim groups from other packages: a table for each group, under the group's name."""

    waivers: tuple[Waiver, ...] = ()
    """The cases whose failure the audit accepts until a day."""

    extends: Text | None = None
    """The policy that supplies every key left out here: a built-in name, or the path of a file relative to this one."""

    @model_validator(mode="after")
    def _no_key_alone_exceeds_the_budget(self) -> Self:
        images = {
            "controls.sensitivity_images": self.controls.sensitivity_images,
            "erasure.images": self.erasure.images,
            "adversarial.validation_images": self.adversarial.validation_images,
            "adversarial.images": self.adversarial.images,
            "retention.pairs": 2 * self.retention.pairs,
        }
        if self.fresh is not None:
            images["fresh.prompts"] = 2 * self.fresh.prompts
        if self.triggers is not None:
            images["triggers.images"] = self.triggers.images
        if self.own_settings is not None:
            images["own_settings.images"] = self.own_settings.images
        if self.composition:
            images["composition.pairs"] = 2 * self.composition.pairs
        if self.unrelated:
            images["unrelated.prompts"] = 2 * self.unrelated.prompts
            images["unrelated.pairs"] = 2 * self.unrelated.pairs
        for key, count in images.items():
            if count > self.images_at_most:  # refused here, because the plan of so many images may not fit into memory
                raise broken_rule(
                    key,
                    f"alone needs {count:,} images",
                    f"images_at_most is {self.images_at_most:,}",
                    f"raise images_at_most, or lower {key}",
                )
        return self

    @model_validator(mode="after")
    def _each_case_has_one_waiver(self) -> Self:
        places: dict[tuple[str, str | None], int] = {}
        for place, waiver in enumerate(self.waivers, start=1):
            first = places.setdefault((waiver.case, waiver.target), place)
            if first != place:
                raise broken_rule(
                    f"waivers {first} and {place}",
                    f"are of the same case, {waiver.case!r}",
                    "only one reason, owner and day can hold",
                    "remove one of them",
                )
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the policy as plain values for the digest and the manifest.

        Most keys with a default are left out if they hold it. A policy file keeps its digest when a new key is added
        to the package.
        """
        return dict(_plain(self))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        values = {field: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {field.name: _plain(inner) for field, inner in values.items() if _is_hashed(field, inner)}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def _is_hashed(field: dataclasses.Field[Any], value: Any) -> bool:
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    return field.name not in NEVER_HASHED and (value != default or field.name in HASHED_AT_DEFAULT)
