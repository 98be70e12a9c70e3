"""Whether a policy is at least as strict as the built-in policy release, figure by figure.

An audit is release evidence if it is, whatever the name of the policy. `DIRECTIONS` says of every key which way is stricter; a
test compares it with the schema, so that no new key is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from functools import cache
from typing import Any

from dmun_audit.policy.loading import load_policy
from dmun_audit.policy.policy import Policy
from dmun_audit.verdict.vocabulary import Burden, Stopping

STRICTEST = "release"
NAMED = 3  # ways in which an audit is weaker, in a sentence

AtLeastAsStrict = Callable[[Any, Any], bool]
"""Whether a first value is at least as strict as a second one. None stands for a claim that is not made."""


def lower(value: Any, reference: Any) -> bool:
    """Limits and error rates: the lower, the stricter."""
    return reference is None or (value is not None and value <= reference)


def higher(value: Any, reference: Any) -> bool:
    """Floors, and numbers of prompts, concepts and images that are always drawn: the higher, the stricter."""
    return reference is None or (value is not None and value >= reference)


def same(value: Any, reference: Any) -> bool:
    """Settings with one strict value: the value of the reference."""
    return bool(value == reference)


def one_of(*values: Any) -> AtLeastAsStrict:
    """Named settings, from the least strict to the strictest."""

    def at_least(value: Any, reference: Any) -> bool:
        return values.index(value) >= values.index(reference)

    return at_least


BURDEN = one_of(Burden.NONE, Burden.PROVE_HARM, Burden.PROVE_SAFE)

DIRECTIONS: dict[str, AtLeastAsStrict | str] = {
    # A text instead of a rule: why no value of the key is stricter than another.
    "name": "a name decides nothing",
    "extends": "says where figures come from",
    "release_evidence": "what the policy says of itself decides nothing",
    "waivers": "the run says which waivers applied: their cases are no release evidence",
    "groups": "further claims can only add failures",
    "sampling.profile": one_of("fast", "fidelity"),  # these four first: messages name the first ones
    "erasure.ceiling": lower,
    "adversarial.ceiling": lower,
    "retention.margin": lower,
    "alpha": lower,
    "images_at_most": "too few images make a claim INCONCLUSIVE, and no claim easier",
    "seeds": one_of("fixed", "after fingerprint"),
    "sampling.steps": "the controls are drawn with the same settings",
    "sampling.guidance": "the controls are drawn with the same settings",
    "sampling.scheduler": "the controls are drawn with the same settings",
    "sampling.size": "the controls are drawn with the same settings",
    "sampling.batch": "changes the last bits of an image",
    "sampling.threads": "changes the last bits of an image",
    "sampling.dtype": "the controls are drawn with the same settings",
    "sampling.acceleration": "changes the last bits of an image",
    "sampling.recheck_images": higher,
    "sampling.cache": one_of("first-block", "none"),
    "sampling.negative_prompt": same,  # it may ask for images without the target
    "controls.sensitivity_floor": higher,
    "controls.sensitivity_images": higher,
    "controls.false_positive_ceiling": lower,
    "controls.clean_pairs": higher,
    "controls.judge_error_gates": one_of(False, True),
    "controls.second_judge": lambda value, reference: value == "must agree" or reference != "must agree",
    "controls.spot_check": one_of("optional", "required"),
    "controls.threshold_cap": lower,  # under a higher threshold fewer images count as showing the target
    "controls.views": one_of("none", "contrast"),
    "controls.weakened_floor": higher,
    "controls.weakened_images": higher,
    "erasure.images": "too few images make the claim INCONCLUSIVE",
    "erasure.stopping": "both ways keep the error rate; worst_prompt counts only with early stopping",
    "erasure.burden": BURDEN,
    "erasure.worst_prompt": lower,
    "erasure.prompt_images": "too few images make the claim INCONCLUSIVE",
    "erasure.further_images": "too few images make the claim INCONCLUSIVE",
    "own_settings.ceiling": lower,
    "own_settings.images": "too few images make the claim INCONCLUSIVE",
    "own_settings.burden": BURDEN,
    "substitute.empty_ceiling": lower,
    "substitute.copy_ceiling": lower,
    "substitute.exposure_ceiling": lower,
    "substitute.subject_ceiling": lower,
    "substitute.repeat_ceiling": lower,
    "adversarial.prompts": higher,
    "adversarial.validation_images": higher,
    "adversarial.valid_at": higher,  # as a share: prompts that hardly work on the base would dilute the rate
    "adversarial.minimum_valid": higher,
    "adversarial.images": "too few images make the claim INCONCLUSIVE",
    "adversarial.per_prompt": BURDEN,
    "adversarial.per_prompt_ceiling": lower,
    "adversarial.stopping": "both ways keep the error rate; worst_prompt counts only with early stopping",
    "adversarial.burden": BURDEN,
    "adversarial.worst_prompt": lower,
    "adversarial.prompt_images": "too few images make the claim INCONCLUSIVE",
    "adversarial.further_images": "too few images make the claim INCONCLUSIVE",
    "fresh.ceiling": lower,
    "fresh.prompts": "too few prompts make the claim INCONCLUSIVE",
    "fresh.burden": BURDEN,
    "triggers.images": higher,  # the claim fails only if harm is proven, so it needs them
    "retention.concepts": higher,
    "retention.pairs": "too few pairs make the claim INCONCLUSIVE",
    "retention.per_concept": BURDEN,
    "retention.per_concept_margin": lower,
    "retention.stopping": "both ways keep the error rate; worst_concept counts only with early stopping",
    "retention.burden": BURDEN,
    "retention.first_look": "any first look keeps the error rate",
    "retention.worst_concept": lower,
    "retention.concept_pairs": "too few pairs make the claim INCONCLUSIVE",
    "retention.further_pairs": "too few pairs make the claim INCONCLUSIVE",
    "retention.rule": one_of("score", "bound"),  # the level of "score" is proven for pairs of equal probabilities alone
    "retention.score_margin": lower,
    "retention.perceptual": "reported only",
    "retention.cross_check": "reported only",
    "composition.margin": lower,
    "composition.per_concept": BURDEN,
    "composition.per_concept_margin": lower,
    "composition.burden": BURDEN,
    "composition.prompts": higher,
    "composition.pairs": higher,
    "diversity.share": higher,  # more pictures count as repeated
    "diversity.ceiling": lower,
    "diversity.seeds_ceiling": lower,
    "diversity.second_seeds": higher,
    "diversity.per_concept": BURDEN,
    "diversity.burden": BURDEN,
    "unrelated.prompts": higher,
    "unrelated.pairs": "too few pairs make the claim INCONCLUSIVE",
    "unrelated.margin": lower,
    "unrelated.stopping": "both ways keep the error rate",
    "unrelated.burden": BURDEN,
    **{
        f"probes.{key}": "under release probes are only reported"
        for key in ("run", "gating", "margin", "units", "row", "base_units", "effort", "burden", "regression_burden")
    },
}


def weaker_than_release(policy: Policy) -> list[str]:
    """Where a policy is weaker than the built-in policy release, such as "adversarial.ceiling is 0.12, and release has 0.05".

    Empty if it is at least as strict in every figure.
    """
    ours, reference = _figures(policy), _reference()
    decides = {key.partition(".")[0] for key, rule in DIRECTIONS.items() if not isinstance(rule, str)}
    absent = [name for name in _sections(reference) if name not in _sections(ours) and name in decides]
    sentences = []
    for key, rule in DIRECTIONS.items():
        if isinstance(rule, str) or key not in reference or key.partition(".")[0] in absent:
            continue
        if not rule(_compared(ours, key), _compared(reference, key)):
            sentences.append(f"{key} {_said(ours, key)}, and {STRICTEST} has {_shown(reference, key)}")
    return [*sentences, *(f"there is no section [{name}], and {STRICTEST} has one" for name in absent)]


def release_sentence(weaker: Sequence[str]) -> str:
    """Whether an audit is release evidence, in a sentence. `weaker` are the ways in which it is weaker than release."""
    if not weaker:
        return f"Release evidence: this audit is at least as strict as the built-in policy {STRICTEST} in every figure."
    ways = f"{len(weaker)} ways" if len(weaker) > 1 else "one way"
    more = f"; and {len(weaker) - NAMED} more" if len(weaker) > NAMED else ""
    named = "; ".join(weaker[:NAMED]) + more
    return f"No release evidence: this audit is weaker than the built-in policy {STRICTEST} in {ways}: {named}."


@cache
def _reference() -> Mapping[str, Any]:
    return _figures(load_policy(STRICTEST))


def _figures(policy: Policy) -> dict[str, Any]:
    """The figures by dotted key, as they hold: a figure that does not count is None. An absent section has none."""
    table: dict[str, Any] = {}
    for name, value in asdict(policy).items():
        if isinstance(value, dict) and name != "groups":
            table |= {f"{name}.{key}": figure for key, figure in value.items()}
        elif value is not None:
            table[name] = value
    if table["controls.clean_pairs"] is None:
        table["controls.clean_pairs"] = table["retention.pairs"]
    if table["adversarial.per_prompt_ceiling"] is None:
        table["adversarial.per_prompt_ceiling"] = table["adversarial.ceiling"]
    if table["retention.per_concept_margin"] is None:
        table["retention.per_concept_margin"] = table["retention.margin"]
    if table["controls.weakened_floor"] is None:
        table["controls.weakened_images"] = None
    for section, worst in (("erasure", "worst_prompt"), ("adversarial", "worst_prompt"), ("retention", "worst_concept")):
        if table[f"{section}.stopping"] != Stopping.EARLY:
            table[f"{section}.{worst}"] = None
    return table


def _sections(figures: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(key.partition(".")[0] for key in figures if "." in key))


def _compared(figures: Mapping[str, Any], key: str) -> Any:
    """The value that a rule compares."""
    if key == "adversarial.valid_at":
        return figures[key] / figures["adversarial.validation_images"]
    return figures.get(key)


def _said(figures: Mapping[str, Any], key: str) -> str:
    return "does not count" if figures.get(key) is None else f"is {_shown(figures, key)}"


def _shown(figures: Mapping[str, Any], key: str) -> str:
    value = figures[key]
    if key == "adversarial.valid_at":
        return f"{value} of {figures['adversarial.validation_images']} images"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(str(value.value if isinstance(value, Enum) else value))
    return str(value)
