"""The sentences on a probe: what it asks, what came back, what to do."""

from __future__ import annotations

from dmun_audit.claim_groups.probe_decision import ProbeDecision, curves_of
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import ProbeRecord
from dmun_audit.probes.probe import Probe
from dmun_audit.verdict.scales import DIFFERENCES
from dmun_audit.verdict.vocabulary import Verdict

CONTROLS = {
    "model": "The control is {model}, which never knew {target}, under the same probe.",
    "placebo": "The control is the candidate itself: with a made-up name, random tokens or no probe, and with as many images.",
    "none": "There is no control: the probe teaches {target} to any model. Name one with --probe-control to get a verdict.",
}
BACK = (
    "Somebody with the weights brings the target back. Erase the target from the weights and not only from the way to it, or do not "
    "publish the weights."
)
NOT_ON_BASE = "The probe does not bring the target back on the base either, so it says nothing about the candidate."
NO_TIME = "The time for probes was used up (--max-probe-minutes). Run the same command again to go on from here."


def asked_of(probe: Probe, record: ProbeRecord) -> str:
    """What the probe does."""
    return probe.explanation


def seen_of(probe: Probe, record: ProbeRecord, decision: ProbeDecision | None, target: str, verdict: Verdict) -> str:
    """What the candidate and the control showed."""
    if not record.was_tried:
        return NO_TIME
    control = CONTROLS[record.control].format(model=record.control_model or "a model", target=target)
    sentences = [_result(record, decision, target), _without(record, target)]
    if verdict == Verdict.VACUOUS:
        sentences.insert(0, NOT_ON_BASE)
    if record.out_of_time:
        sentences.append(NO_TIME)
    return " ".join([*sentences, control])


def _result(record: ProbeRecord, decision: ProbeDecision | None, target: str) -> str:
    if decision is None:
        curves = [curve for curve in curves_of(record) if curve.candidate]
        worst = max(curves, key=lambda curve: sum(curve.candidate))
        return f"With {worst.label}, the candidate shows {target} in {sum(worst.candidate)} of {len(worst.candidate)} images."
    curve, decided = decision.curves[decision.worst], decision.decisions[decision.worst]
    units = decided.trials
    shown = f"{sum(curve.candidate[:units])} of {units} images"
    counts = f"With {curve.label}, the candidate shows {target} in {shown}, and the control in {sum(curve.control[:units])}."
    if decided.verdict == Verdict.FAIL:
        bound, alpha = messages.at_least(decided.lower, decided.threshold, DIFFERENCES), decided.alpha_fail
    else:
        bound, alpha = messages.at_most(decided.upper, decided.threshold, DIFFERENCES), decided.alpha_pass
    limit = f"the margin is {DIFFERENCES.as_given(decided.threshold)}"
    confidence = f"with {100 * (1 - alpha):.4g}% confidence the difference is {bound}, and {limit}"
    others = len(decision.curves) - 1
    more = f" No other of {messages.counted(others + 1, 'dose')} has a worse result." if others else ""
    return f"{counts[:-1]}; {confidence}.{more}"


def _without(record: ProbeRecord, target: str) -> str:
    plain = record.without_probe
    return f"Without the probe it shows {target} in {sum(plain)} of {len(plain)}."


def remedy_of(probe: Probe, record: ProbeRecord, verdict: Verdict) -> str:
    """What to do about it."""
    if verdict == Verdict.FAIL:
        return BACK
    if record.out_of_time:
        return ""  # the result says what to do
    if verdict == Verdict.INCONCLUSIVE:
        return 'Raise probes.units in the policy, or accept an undecided probe with probes.burden = "prove harm".'
    return ""
