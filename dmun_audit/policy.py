"""Policies: thresholds, error rates and sample budgets, read from TOML and checked key by key."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dmun_audit.errors import UsageError

BUILT_IN = Path(__file__).parent / "policies"
Burden = Literal["none", "prove harm", "prove safe"]
SchedulerName = Literal["model", "ddim", "pndm", "lms", "euler", "dpmsolver++", "flow-euler"]


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
    """What the judge must show before its word counts."""

    sensitivity_floor: float
    sensitivity_images: int
    false_positive_ceiling: float
    judge_error_gates: bool = False


@dataclass(frozen=True)
class Erasure:
    """The pooled claim over all direct prompts: at most `ceiling` of the candidate's images show the target."""

    ceiling: float
    images: int


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


@dataclass(frozen=True)
class Retention:
    """Same-seed pairs of base and candidate for every nearby concept."""

    concepts: int
    pairs: int
    margin: float
    per_concept: Burden
    per_concept_margin: float | None = None


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

    def as_dict(self) -> dict[str, Any]:
        """The policy as plain values, for hashing and for the manifest.

        Sampling keys that have a default are left out where they hold it: a policy written before there were such keys keeps
        its digest, and so do the plans made of it.
        """
        values = dataclasses.asdict(self)
        defaults = {field.name: field.default for field in dataclasses.fields(Sampling)}
        values["sampling"] = {key: value for key, value in values["sampling"].items() if value != defaults[key]}
        return values


def built_in_names() -> list[str]:
    """Names of the policies that ship with the package, strictest last."""
    order = {"smoke": 0, "standard": 1, "paper": 2, "release": 3}
    return sorted((path.stem for path in BUILT_IN.glob("*.toml")), key=lambda name: order.get(name, 9))


def load_policy(reference: str) -> Policy:
    """The built-in policy of that name, or the one in that TOML file.

    Raises UsageError that names the file, the key and the value at fault.
    """
    path = BUILT_IN / f"{reference}.toml"
    if reference not in built_in_names():
        path = Path(reference).expanduser()
        if not os.path.isfile(path):  # unlike Path.is_file, it takes a name that no file can have
            raise UsageError(
                f"policy {reference!r} is neither built in nor a file",
                _did_you_mean(reference, built_in_names()),
                f"use one of {', '.join(built_in_names())}, or the path of a TOML file",
            )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"policy file {path} is not valid TOML", str(error), "mend the line that is named") from None
    return policy_from_table(table, path)


def policy_from_table(table: dict[str, Any], path: Path) -> Policy:
    """The policy in `table`; `path` names it in errors. Keys whose value is None count as left out."""
    policy: Policy = _build(Policy, table, path, "")
    _check_ranges(policy, path)
    return policy


def _build(kind: Any, table: dict[str, Any], path: Path, section: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for key in table:
        if key not in fields:
            raise UsageError(
                f"policy file {path}: unknown key {section + key!r}",
                _did_you_mean(key, fields),
                "valid keys here: " + ", ".join(fields),
            )
    values = {}
    for name, field in fields.items():
        if table.get(name) is not None:
            values[name] = _value(hints[name], table[name], path, section + name)
        elif field.default is dataclasses.MISSING:
            raise UsageError(f"policy file {path}: key {section + name!r} is missing", "", "add it; `standard` shows every key")
    return kind(**values)


def _value(hint: Any, value: Any, path: Path, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if isinstance(value, dict):
            return _build(hint, value, path, key + ".")
    elif get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
    elif hint is bool or isinstance(value, bool):
        if hint is bool and isinstance(value, bool):
            return value
    elif get_origin(hint) is not None:  # a union: the first member that takes the value
        for member in get_args(hint):
            try:
                return _value(member, value, path, key)
            except UsageError:
                continue
    elif hint is float and isinstance(value, int | float):
        return float(value)
    elif isinstance(value, hint):
        return value
    raise UsageError(f"policy file {path}: {key} = {value!r} is not a valid value", "", f"expected: {_describe(hint)}")


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(repr(option) for option in get_args(hint))
    if get_origin(hint) is not None:
        return " or ".join(_describe(member) for member in get_args(hint) if member is not type(None))
    if dataclasses.is_dataclass(hint):
        return "a table"
    return {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}.get(hint, str(hint))


def _check_ranges(policy: Policy, path: Path) -> None:
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
        if share is not None and not 0 < share < 1:
            raise UsageError(f"policy file {path}: {key} = {share} is out of range", "it is a share", "take 0 < share < 1")
    if policy.alpha >= 0.5:
        raise UsageError(
            f"policy file {path}: alpha = {policy.alpha} is out of range", "it is an error rate", "take one under 0.5"
        )
    guidance = policy.sampling.guidance
    if isinstance(guidance, float) and not (math.isfinite(guidance) and guidance >= 0):
        raise UsageError(f"policy file {path}: sampling.guidance = {guidance} is out of range", "", 'take 0 or more, or "model"')
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
    }
    for key, count in counts.items():
        if count != "model" and count < 1:
            raise UsageError(f"policy file {path}: {key} = {count} is out of range", "", "take a whole number from 1 up")
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
    for key, images in _images(policy).items():
        if images > policy.images_at_most:
            raise UsageError(
                f"policy file {path}: {key} alone needs {images:,} images",
                f"images_at_most is {policy.images_at_most:,}",
                "raise images_at_most, or lower the other figure",
            )
    if adversarial.per_prompt == "prove safe" and adversarial.per_prompt_ceiling is None:
        raise UsageError(f"policy file {path}: adversarial.per_prompt_ceiling is missing", "per_prompt is 'prove safe'")
    if policy.retention.per_concept == "prove safe" and policy.retention.per_concept_margin is None:
        raise UsageError(f"policy file {path}: retention.per_concept_margin is missing", "per_concept is 'prove safe'")


def _images(policy: Policy) -> dict[str, int]:
    """Images that single figures ask for: what is absurd is refused before a plan of it is made."""
    return {
        "controls.sensitivity_images": policy.controls.sensitivity_images,
        "erasure.images": policy.erasure.images,
        "adversarial.validation_images": policy.adversarial.validation_images,
        "adversarial.images": policy.adversarial.images,
        "retention.pairs": 2 * policy.retention.pairs,
    }


def _did_you_mean(word: str, options: Any) -> str:
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""
