"""Whether the figures of a policy make sense, one by one and together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.policy.sections import Policy

LEAST_SHARE = 1e-6  # a ceiling under one in a million takes more images than anybody draws


def check_ranges(policy: Policy, path: Path) -> None:
    """Raise UsageError that names `path`, the key and the value where a figure is out of range."""
    _check_shares(policy, path)
    _check_counts(policy, path)
    _check_adversarial(policy, path)
    _check_retention(policy, path)
    _check_budget(policy, path)
    _check_waivers(policy, path)


def _check_shares(policy: Policy, path: Path) -> None:
    shares = {
        "alpha": policy.alpha,
        "controls.sensitivity_floor": policy.controls.sensitivity_floor,
        "controls.false_positive_ceiling": policy.controls.false_positive_ceiling,
        "erasure.ceiling": policy.erasure.ceiling,
        "adversarial.ceiling": policy.adversarial.ceiling,
        "retention.margin": policy.retention.margin,
        "adversarial.per_prompt_ceiling": policy.adversarial.per_prompt_ceiling,
        "retention.per_concept_margin": policy.retention.per_concept_margin,
    }
    for key, share in shares.items():
        if share is not None and not LEAST_SHARE <= share <= 1 - LEAST_SHARE:
            remedy = f"take {LEAST_SHARE:.0e} ≤ share ≤ 1 - {LEAST_SHARE:.0e}"
            raise UsageError(f"policy file {path}: {key} = {share} is out of range", "it is a share", remedy)
    if policy.alpha >= 0.5:
        raise UsageError(
            f"policy file {path}: alpha = {policy.alpha} is out of range", "it is an error rate", "take one under 0.5"
        )
    guidance = policy.sampling.guidance
    if isinstance(guidance, float) and not (math.isfinite(guidance) and guidance >= 0):
        raise UsageError(f"policy file {path}: sampling.guidance = {guidance} is out of range", "", 'take 0 or more, or "model"')


def _check_counts(policy: Policy, path: Path) -> None:
    if policy.retention.pairs < 2:
        raise UsageError(
            f"policy file {path}: retention.pairs = {policy.retention.pairs} is out of range",
            "half of them calibrate the judge, the other half check it",
            "take 2 or more",
        )
    counts: dict[str, int | Literal["model"]] = {
        "sampling.steps": policy.sampling.steps,
        "sampling.size": policy.sampling.size,
        "sampling.batch": policy.sampling.batch,
        "sampling.threads": policy.sampling.threads,
        "controls.sensitivity_images": policy.controls.sensitivity_images,
        "erasure.images": policy.erasure.images,
        "images_at_most": policy.images_at_most,
        "adversarial.prompts": policy.adversarial.prompts,
        "adversarial.validation_images": policy.adversarial.validation_images,
        "adversarial.minimum_valid": policy.adversarial.minimum_valid,
        "retention.concepts": policy.retention.concepts,
        "retention.pairs": policy.retention.pairs,
        "retention.first_look": policy.retention.first_look,
    }
    for key, count in counts.items():
        if count != "model" and count < 1:
            raise UsageError(f"policy file {path}: {key} = {count} is out of range", "", "take a whole number from 1 up")


def _check_adversarial(policy: Policy, path: Path) -> None:
    adversarial = policy.adversarial
    if not 1 <= adversarial.valid_at <= adversarial.validation_images:
        raise UsageError(
            f"policy file {path}: adversarial.valid_at = {adversarial.valid_at} can never be met",
            f"each prompt is validated on {adversarial.validation_images} images",
            "take a number from 1 to adversarial.validation_images",
        )
    if adversarial.minimum_valid > adversarial.prompts:
        raise UsageError(
            f"policy file {path}: adversarial.minimum_valid = {adversarial.minimum_valid} can never be met",
            f"only {adversarial.prompts} prompts are tried",
            "take a number up to adversarial.prompts",
        )
    if adversarial.images < adversarial.prompts:
        raise UsageError(
            f"policy file {path}: adversarial.images = {adversarial.images} is too few",
            f"each of {adversarial.prompts} prompts gets one image at least",
            "take at least adversarial.prompts",
        )
    if adversarial.per_prompt == "prove safe" and adversarial.per_prompt_ceiling is None:
        raise UsageError(f"policy file {path}: adversarial.per_prompt_ceiling is missing", "per_prompt is 'prove safe'")


def _check_retention(policy: Policy, path: Path) -> None:
    from dmun_audit.verdict.paired import SCORE_CLIP  # here: `dmun-audit --help` reads the names of policies, and needs no scipy
    from dmun_audit.verdict.paired_score import MOST_PAIRS

    retention = policy.retention
    if retention.per_concept == "prove safe" and retention.per_concept_margin is None:
        raise UsageError(f"policy file {path}: retention.per_concept_margin is missing", "per_concept is 'prove safe'")
    if retention.first_look > retention.pairs:
        raise UsageError(
            f"policy file {path}: retention.first_look = {retention.first_look} can never be met",
            f"each concept gets {retention.pairs} pairs",
            "take a number up to retention.pairs",
        )
    if retention.rule == "score" and retention.stopping == "early":
        raise UsageError(
            f"policy file {path}: retention.rule = 'score' and retention.stopping = 'early' exclude each other",
            "the score test is one for a number of pairs fixed in advance",
            "take one of them",
        )
    if retention.rule == "score" and retention.concepts * retention.pairs > MOST_PAIRS:
        raise UsageError(
            f"policy file {path}: retention.rule = 'score' cannot take {retention.concepts * retention.pairs:,} pairs",
            f"the exact test is computed for up to {MOST_PAIRS:,}",
            "take rule = 'bound', or fewer concepts or pairs",
        )
    if retention.score_margin is not None and not 0 < retention.score_margin < SCORE_CLIP:
        raise UsageError(
            f"policy file {path}: retention.score_margin = {retention.score_margin} is out of range",
            f"it is a mean of differences of CLIP scores, each of them cut to ±{SCORE_CLIP}",
            f"take 0 < margin < {SCORE_CLIP}, or leave it out",
        )


def _check_budget(policy: Policy, path: Path) -> None:
    for key, images in _images(policy).items():
        if images > policy.images_at_most:
            raise UsageError(
                f"policy file {path}: {key} alone needs {images:,} images",
                f"images_at_most is {policy.images_at_most:,}",
                "raise images_at_most, or lower the other figure",
            )


def _images(policy: Policy) -> dict[str, int]:
    """Images that single figures ask for: what is absurd is refused before a plan of it is made."""
    return {
        "controls.sensitivity_images": policy.controls.sensitivity_images,
        "erasure.images": policy.erasure.images,
        "adversarial.validation_images": policy.adversarial.validation_images,
        "adversarial.images": policy.adversarial.images,
        "retention.pairs": 2 * policy.retention.pairs,
    }


def _check_waivers(policy: Policy, path: Path) -> None:
    places: dict[tuple[str, str | None], int] = {}
    for place, waiver in enumerate(policy.waivers, start=1):
        for key in ("case", "reason", "owner", "target"):
            if getattr(waiver, key) is not None and not getattr(waiver, key).strip():
                raise UsageError(
                    f"policy file {path}: waivers {place}.{key} is empty",
                    "a waiver that does not say what, why and who is none",
                    "say it, or remove the waiver",
                )
        first = places.setdefault((waiver.case, waiver.target), place)
        if first != place:
            raise UsageError(
                f"policy file {path}: waivers {first} and {place} are of the same case, {waiver.case!r}",
                "which reason, owner and day hold would be open",
                "remove one of them",
            )
