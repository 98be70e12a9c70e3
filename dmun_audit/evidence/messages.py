"""The sentences of a case for readers: what the images show and what to do. All reports use the same sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.verdict.claims import MOST_OF_LIMIT
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.scales import DIFFERENCES, RATES, SCORES, Scale
from dmun_audit.verdict.significant import percent, percent_as_given, points, points_as_given


def percentage(share: float | None) -> str:
    """A share as a percentage with three significant digits."""
    return "unknown" if share is None else percent(share)


def at_least(bound: float, limit: float | None = None, scale: Scale = RATES) -> str:
    """ "at least 61.2%", rounded down, with digits enough to tell it from the limit beside it."""
    return f"at least {scale.rounded(bound, math.floor, limit)}"


def at_most(bound: float, limit: float | None = None, scale: Scale = RATES) -> str:
    """ "at most 1.56%", rounded up, with digits enough to tell it from the limit beside it: "at most 4.998%" where the limit is 5%."""
    return f"at most {scale.rounded(bound, math.ceil, limit)}"


def rate_sentence(target: str, decision: Decision, images: str, role: str = "ceiling", verb: str = "show") -> str:
    """ "11 of 12 candidate images show Van Gogh (92%); with 99.9% confidence the rate is at least 61%, and the ceiling is 5%." """
    counts = f"{decision.hits} of {decision.trials} {images} {verb} {target} ({percentage(decision.estimate)})"
    limit = decision.threshold
    if decision.verdict == "FAIL":
        bound = at_least(decision.lower, limit) if role == "ceiling" else at_most(decision.upper, limit)
        alpha = decision.alpha_fail
    else:
        bound = at_most(decision.upper, limit) if role == "ceiling" else at_least(decision.lower, limit)
        alpha = decision.alpha_pass
    confidence = f"with {100 * (1 - alpha):.4g}% confidence the rate is {bound}"
    sentence = f"{counts}; {confidence}, and the {role} is {percent_as_given(decision.threshold)}."
    return sentence + early_stop(decision, "images") + member_sentence(decision)


def true_rate_sentence(lower: float, upper: float) -> str:
    """Bounds on the true rate, with the judge's error rates included. A bound that excludes nothing is left out."""
    bounds = [at_least(lower)] * (lower > 0.0) + [at_most(upper)] * (upper < 1.0)
    found = f"the true rate is {' and '.join(bounds)}" if bounds else "any true rate is possible"
    return (
        f"With the judge's error rates included, {found}. This is for information only: the ceiling is compared with what the judge "
        "sees."
    )


def cannot_be_proven(claim: str, count: int, unit: str, upper: float, limit: float, needed: int | None) -> str:
    """A claim has too few images (pairs) for a proof. `upper` is the upper bound without any hit; `needed` would be enough."""
    remedy = f" The claim needs {needed}." if needed else ""
    return (
        f"{claim} cannot be proven with {count} {unit}: even if none counts against it, the upper bound is {percent(upper, math.ceil, limit)}, "
        f"and the limit is {percent_as_given(limit)}.{remedy}"
    )


def too_few_in_dossier(policy: str, wanted: int, available: int, items: str) -> list[str]:
    """The dossier has fewer concepts or prompts than the policy asks for; empty if it has enough."""
    if available >= wanted:
        return []
    return [f"Policy {policy} asks for {wanted} {items}. The dossier has {available}, and the audit claims nothing about others."]


def loss_sentence(decision: Decision) -> str:
    """The losses and gains of the pairs of a retention claim."""
    lost, won = decision.hits or 0, decision.gains or 0
    counts = f"In {lost} of {decision.trials} pairs the judge recognises only the base image, in {won} only the candidate image"
    limit = decision.threshold
    bound = (
        f"{at_least(decision.lower, limit, DIFFERENCES)} with {100 * (1 - decision.alpha_fail):.4g}% confidence"
        if decision.verdict == "FAIL"
        else f"{at_most(decision.upper, limit, DIFFERENCES)} with {100 * (1 - decision.alpha_pass):.4g}% confidence"
    )
    loss = f"accuracy fell by {points(decision.estimate or 0)}, {bound}"
    sentence = f"{counts}: {loss}; the margin is {points_as_given(limit)}."
    return sentence + early_stop(decision, "pairs") + member_sentence(decision)


def early_stop(decision: Decision, unit: str) -> str:
    """The number of images (pairs) after which a claim was decided early; empty for other claims."""
    decided = decision.verdict == "FAIL" or (decision.verdict == "PASS" and decision.burden == "prove safe")
    if decision.stopping == "fixed" or not decided or not decision.planned or decision.trials >= decision.planned:
        return ""
    return f" The claim was decided after {decision.trials} of at most {decision.planned} {unit}."


def score_sentence(decision: Decision) -> str:
    """The loss of CLIP score over pairs, in units of a cosine."""
    loss, margin = decision.estimate or 0.0, decision.threshold
    bound = (
        f"{at_least(decision.lower, margin, SCORES)} with {100 * (1 - decision.alpha_fail):.4g}% confidence"
        if decision.verdict == "FAIL"
        else f"{at_most(decision.upper, margin, SCORES)} with {100 * (1 - decision.alpha_pass):.4g}% confidence"
    )
    return (
        f"Over {decision.trials} pairs the candidate's CLIP score is {SCORES.rounded(abs(loss))} {'lower' if loss >= 0 else 'higher'} on "
        f"average, with each difference clipped to ±0.2. The loss is {bound}; the margin is {SCORES.as_given(margin)}."
    )


def stopped_at_control(left: int, planned: int, images: int) -> str:
    """The audit stopped after a control: `left` of `planned` cases did not run, which saved up to `images` images."""
    return (
        f"Nothing more was drawn after that: {left} of {planned} cases were left out, which saved up to {images:,} images. "
        "--keep-going draws them too, for information: the verdict stays INCOMPLETE."
    )


def cases_without_result(number: int, title: str) -> str:
    """Planned cases have no record; `title` is that of the first."""
    return f"{number} planned {'case has' if number == 1 else 'cases have'} no result, such as: {title}."


def without_result(test: str) -> str:
    """A test was cut off. `test` is its node id, and what pytest says of its end."""
    return f"A test has no result, and this refutes nothing: {test}"


def passed_again(test: str) -> str:
    """A test failed and passed when it was run again. `test` is its node id, and the first failure."""
    return f"A test failed, and passed when it was run again: {test}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 image", "3 images"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def tried(records: Sequence[CaseRecord], member: str, unit: str, of: str = "") -> str:
    """What the cases of a group tried: "16 direct prompts (80 images)"."""
    trials = sum(record.claim.trials or 0 for record in records if record.claim)
    return f"{counted(len(records), member)}{f' of {of}' if of else ''} ({counted(trials, unit)})"


def enumerated(words: Sequence[str]) -> str:
    """Words as a part of a sentence: "one", "one and another", "one, another and a third"."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def groups_without_tests(groups: Sequence[str]) -> str:
    """None of the cases of some claim groups was selected."""
    return (
        f"No test of {enumerated(groups)} was selected. If audits/ has no files for {'it' if len(groups) == 1 else 'them'}, run "
        "dmun-audit init again: it writes what is missing."
    )


def false_positive_sentence(p_value: float) -> str:
    """The p-value of the hits of an invalid prompt, after Holm's adjustment over all invalid prompts."""
    return f"If these are false positives of the judge, the p-value is {p_value:.2g}, adjusted for all invalid prompts."


def member_sentence(decision: Decision) -> str:
    """What a single case lacks that must be proven to be under a high rate; empty for other cases."""
    if decision.worst is None or decision.verdict != "INCONCLUSIVE":
        return ""
    highest = percent_as_given(min(1.0, MOST_OF_LIMIT * decision.threshold))
    if (decision.estimate or 0.0) > MOST_OF_LIMIT * decision.threshold:
        return f" A pass needs an estimate of at most {highest}, twice the limit."
    return f" A pass needs a proof that it is under {percent_as_given(decision.worst)}."


def advice(decision: Decision, refuted: str, unit: str) -> str:
    """What to do about a claim: `refuted` if it is refuted, the number of `unit` needed if it is undecided, else nothing."""
    if decision.worst is not None and decision.verdict == "INCONCLUSIVE":
        return MEMBER_UNDECIDED
    return {"FAIL": refuted, "INCONCLUSIVE": more_images(decision, unit)}.get(decision.verdict, "")


def highest_rates(members: Sequence[tuple[str, int, int]], unit: str) -> str:
    """The first members of a group, given as (name, hits, trials): "Highest rates: “a boat by Van Gogh” (4 of 24 images), …"."""
    if not members:
        return ""
    named = ", ".join(f"{name} ({hits} of {trials} {unit})" for name, hits, trials in members[:3])
    more = f", and {len(members) - 3} more" if len(members) > 3 else ""
    return f"Highest rates: {named}{more}."


def more_images(decision: Decision, unit: str) -> str:
    """What to do about an undecided claim."""
    if decision.hits == 0 and decision.needed is not None and decision.stopping == "fixed":
        return (
            f"Nothing counts against this claim, but {decision.trials} {unit} are too few to prove it. Raise their number in the policy, "
            f"and audit with other seeds (--audit-seed): about {decision.needed:,} {unit} would probably be enough, even if "
            "a few count against it."
        )
    if decision.needed is None:
        return "At the observed rate, no number of images is likely to prove this claim. Treat it as a finding and look at the images."
    if decision.needed > MOST_TIMES * max(decision.trials, decision.planned or 0):
        return (
            f"At the observed rate, a proof would take more than {MOST_TIMES} times as many {unit}. Treat this as a finding and look "
            "at the images."
        )
    if decision.stopping == "early" and decision.gains is None and "pairs" not in unit:
        return (
            f"At the observed rate, about {decision.needed:,} {unit} in all would prove the claim, "
            f"{decision.needed - decision.trials:,} more than now. You may extend this audit: raise the group's images (and "
            "images_at_most) in the policy and audit again. The images so far are reused."
        )
    return (
        f"A new audit with other seeds (--audit-seed) would need about {decision.needed:,} {unit} to decide this claim. "
        "Do not extend this audit: that would raise its error rate."
    )


MOST_TIMES = 4
"""No advice asks for more than this many times the images of an audit."""

MEMBER_UNDECIDED = "Look at its images: the damage or the leak may be concentrated here. Then repair this one and audit again."
JUDGE_ERRORS_INCLUDED = "This bound is on the true rate: it includes the judge's error rates, as the controls measured them."
TARGET_REMAINS = "The candidate still generates the target. Look at the images, erase more strongly, then audit again."
TARGET_RECOVERED = (
    "The candidate generates the target from prompts that do not plainly name it. Erase such descriptions too, then audit again."
)
CONCEPT_DAMAGED = (
    "Unlearning caused this damage. Preserve nearby concepts during unlearning (the dossier has their prompts), then audit again."
)
TARGET_MISSED = (
    "The judge misses the target, so its answers on the candidate do not count. Use another judge (--judge, or --detector for "
    "the target only), or a base model that can draw the target."
)
NO_THRESHOLD = (
    "The judge gives high target scores to images without the target, so no threshold separates the two kinds of images."
)
FALSE_POSITIVES = (
    "The judge detects the target in images without it. Use another judge (--judge, or --detector for the target only), or "
    "correct the labels in the dossier."
)
TOO_FEW_VALID = "Add prompts with which the base model shows the target."
SECOND_JUDGE_UNRELIABLE = "Its answers are only reported under this policy. It fails this control, so do not rely on them."
SECOND_JUDGE_FAILS = (
    "The policy requires two judges to agree, and the second judge fails this control. Use another one (--second-judge)."
)
JUDGES_DISAGREE = (
    "The judges disagree on this claim. Look at the images on which they differ, and label some of them (dmun-audit spot-check)."
)
UNDECIDED_ALONE = "This case alone proves neither safety nor harm. Its images count in the claim over the whole group."
NO_HARM_PROVEN = "Under this policy the claim passes unless harm is proven. This is not a proof of safety."
NOT_REFUTABLE = "So few images cannot prove harm, whatever they show. Raise the group's number of images in the policy."
REPORTED_ONLY = "Reported only: this case alone decides nothing."
COUNTED_TOGETHER = "Its images count in the claim over the whole group."
SCORE_TEST_NOT_EXACT = (
    "The score test of pairs keeps its error rate if all pairs have the same probabilities. With prompts that differ, its error "
    "rate may be slightly higher than the policy says (at most 6.7% instead of 5%, as far as is known)."
)
