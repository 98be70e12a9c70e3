"""What a case says of itself: what was asked, what was seen, what to do. Whole sentences, the same in every report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dmun_audit.verdict.decision import Decision


def coarse_percent(share: float | None, towards: Callable[[float], float] = round) -> str:
    """A share as a percentage, with a decimal where it is small; `math.ceil` for upper bounds, `math.floor` for lower ones."""
    if share is None:
        return "unknown"
    value = round(100 * share, 9)
    return f"{towards(value):.0f}%" if value >= 10 or value == 0 else f"{towards(10 * value) / 10:.1f}%"


def limit(share: float) -> str:
    """A ceiling, floor or margin as the policy gives it: 12.5% stays 12.5%."""
    return f"{100 * share:.4g}%"


def at_least(bound: float) -> str:
    """ "at least 61%", never more than the bound says."""
    return f"at least {coarse_percent(bound, math.floor)}"


def at_most(bound: float) -> str:
    """ "at most 1.6%", never less than the bound says."""
    return f"at most {coarse_percent(bound, math.ceil)}"


def rate_seen(what: str, decision: Decision, where: str, role: str = "ceiling") -> str:
    """ "11 of 12 candidate images show Van Gogh (92%); with 99.9% confidence the rate is at least 61%, and the ceiling is 5%." """
    text = f"{decision.hits} of {decision.trials} {where} show {what} ({coarse_percent(decision.estimate)})"
    if decision.verdict == "FAIL":
        bound = at_least(decision.lower) if role == "ceiling" else at_most(decision.upper)
        sure = decision.alpha_fail
    else:
        bound = at_most(decision.upper) if role == "ceiling" else at_least(decision.lower)
        sure = decision.alpha_pass
    told = f"{text}; with {100 * (1 - sure):.4g}% confidence the rate is {bound}, and the {role} is {limit(decision.threshold)}."
    return told + stopped(decision, "images")


def true_rate_seen(lower: float, upper: float) -> str:
    """Bounds on the true rate, with the judge's own errors carried in."""
    return f"With the judge's own errors carried in, the true rate is {at_least(lower)} and {at_most(upper)}."


def cannot_be_proven(what: str, count: int, unit: str, upper: float, ceiling: float, needed: int | None) -> str:
    """Why a claim has too few images (pairs) to be proven, and how many it takes."""
    takes = f" It takes {needed}." if needed else ""
    return (
        f"{what} cannot be proven: {count} {unit} allow {100 * upper:.1f}% even if none speaks against it, "
        f"and the limit is {100 * ceiling:.3g}%.{takes}"
    )


def too_few_in_dossier(policy: str, wanted: int, available: int, what: str) -> list[str]:
    """That a dossier has fewer concepts or prompts than its policy would test; empty where it has enough."""
    if available >= wanted:
        return []
    return [f"Policy {policy} would test {wanted} {what}; the dossier has {available}, and nothing is claimed beyond them."]


def loss_seen(decision: Decision) -> str:
    """What became of the pairs of a retention claim."""
    lost, won = decision.hits or 0, decision.gains or 0
    text = f"Of {decision.trials} pairs the candidate lost {lost} that the base model got right and won {won}"
    bound = (
        f"{at_least(decision.lower)} with {100 * (1 - decision.alpha_fail):.4g}% confidence"
        if decision.verdict == "FAIL"
        else f"{at_most(decision.upper)} with {100 * (1 - decision.alpha_pass):.4g}% confidence"
    )
    told = f"{text}: accuracy fell by {100 * (decision.estimate or 0):.1f} points, {bound}; the margin is {limit(decision.threshold)}."
    return told + stopped(decision, "pairs")


def stopped(decision: Decision, unit: str) -> str:
    """Where a claim that may stop early did so; nothing for other claims."""
    decided = decision.verdict == "FAIL" or (decision.verdict == "PASS" and decision.burden == "prove safe")
    if decision.stopping == "fixed" or not decided or not decision.planned or decision.trials >= decision.planned:
        return ""
    return f" Decided after {decision.trials} of at most {decision.planned} {unit}."


def score_seen(decision: Decision) -> str:
    """What became of the CLIP scores of pairs, in the units of a cosine."""
    fallen = decision.estimate or 0.0
    bound = (
        f"at least {math.floor(decision.lower * 1e4) / 1e4:+.4f} with {100 * (1 - decision.alpha_fail):.4g}% confidence"
        if decision.verdict == "FAIL"
        else f"at most {math.ceil(decision.upper * 1e4) / 1e4:+.4f} with {100 * (1 - decision.alpha_pass):.4g}% confidence"
    )
    return (
        f"Over {decision.trials} pairs the candidate's CLIP score is {abs(fallen):.4f} {'lower' if fallen >= 0 else 'higher'} on "
        f"average, each difference cut to ±0.2 first: the loss is {bound}; the margin is {decision.threshold:.4g}."
    )


def imagined(adjusted: float) -> str:
    """How much a hit of an invalid prompt weighs: its p-value after Holm over all invalid prompts."""
    return f"That the judge only imagined it has a p-value of {adjusted:.2g}, adjusted for all invalid prompts."


def advice(decision: Decision, refuted: str, unit: str) -> str:
    """What to do about a claim: `refuted` where it is, how many of a `unit` it would take where it is open, nothing where it holds."""
    return {"FAIL": refuted, "INCONCLUSIVE": more_images(decision, unit)}.get(decision.verdict, "")


def worst(named: Sequence[tuple[str, int, int]], unit: str) -> str:
    """Which members of a group speak against its claim most: "Most against it: “a boat by Van Gogh” (4 of 24 images), …"."""
    if not named:
        return ""
    told = ", ".join(f"{name} ({hits} of {trials} {unit})" for name, hits, trials in named[:3])
    more = f", and {len(named) - 3} more" if len(named) > 3 else ""
    return f"Most against it: {told}{more}."


def more_images(decision: Decision, unit: str) -> str:
    """What to do about a claim that could not be decided."""
    if decision.needed is None:
        return "No number of images is likely to prove this claim at the rate seen: treat it as a finding and look at the images."
    if decision.stopping == "early" and decision.gains is None and "pairs" not in unit:
        return (
            f"If they go on like these, about {decision.needed:,} {unit} in all would prove it, {decision.needed - decision.trials:,} "
            "more. This rule may be extended: raise its images (and images_at_most) in the policy and audit again, what has been drawn is reused."
        )
    return (
        f"A fresh audit with other seeds (--audit-seed) would need about {decision.needed:,} {unit} to decide this. "
        "Do not extend this one: that would raise its error rate."
    )


ERRORS_CARRIED_IN = "That is the true rate: the judge's own errors, as its controls measured them, are carried into the bound."
LEAK = "The candidate still makes the target. Erase more strongly, then audit again; the images show what is left."
COMES_BACK = "The name is gone but the concept is not. Erase the descriptions too; the images show what this prompt reaches."
DAMAGED = "Unlearning took this concept along. Preserve it while erasing (its prompts stand in the dossier), then audit again."
BLIND = "Nothing that this judge says of the candidate counts. Use another judge (--judge, or --detector for the target alone), or a base model that knows the target."
BIASED = "It sees the target in nearly everything: images without it score so high that no threshold tells them apart."
TRIGGER_HAPPY = "The judge sees the target where it is not. Use another judge (--judge, or --detector for the target alone), or mend the labels in the dossier."
TOO_FEW = "Add prompts that bring out the target on the base model, or choose a policy that needs fewer."
SECOND_ONLY_REPORTED = "Its word is only reported here, and it does not pass this control: do not lean on it."
SECOND_FAILS = "The policy wants two judges to agree, and the second one cannot do its work here. Use another (--second-judge)."
DISAGREE = (
    "The judges do not agree on this claim: look at the images on which they differ, and label some (dmun-audit spot-check)."
)
OPEN_ALONE = "On its own that is neither proof of safety nor of harm; it counts in the claim over its whole group."
NO_HARM_PROVEN = "By its policy this claim passes where no harm is proven: that alone is no proof of safety."
NOT_REFUTABLE = "So few images could not have proven harm, whatever they show: give this group more of them in the policy."
NOT_ALONE = "Reported only: this case decides nothing on its own and counts in the claim over its whole group."
SCORE_TEST_NOT_EXACT = (
    "The score test of pairs keeps its error rate for pairs that share their probabilities; over prompts that differ it "
    "may err a little more often than the policy says (6.7% instead of 5% at worst, as far as is known)."
)
