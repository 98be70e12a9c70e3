"""The figures of one audit in a table of methods, and what each column means.

UA, IRA and CRA are the figures of UnlearnCanvas (Zhang et al. 2024, arXiv 2402.11846, section 4), as this audit measures them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmun_audit.claim_groups.probe_decision import AttackRates, Rate, attack_rates
from dmun_audit.comparison.figure import Figure
from dmun_audit.comparison.metric_figures import METRIC, metric_figures, plain_prompts
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.plan.baseline import BASELINE
from dmun_audit.probes.registry import probes
from dmun_audit.report.orderings import correlations_of
from dmun_audit.verdict.scales import DIFFERENCES, scale_of
from dmun_audit.verdict.vocabulary import CONTROLS, Verdict

CLAIMS = ("erasure", "adversarial", "fresh", "substitute", "retention", "composition", "diversity", "unrelated")
"""The claim groups that have a column of their own: those with a claim over the whole group, and the substitutes."""

IN_DOMAIN = frozenset({"parent", "sibling", "child"})
"""Relations of concepts of the target's own kind. All others are of another domain."""

FOOTNOTES = {
    "erasure": "Share of images of direct prompts that show the target, with the bounds of the claim.",
    "adversarial": "The same for valid adversarial prompts. By strategy, counts of images: prompts that look worst get more of them, so these are "
    "no estimates of a rate.",
    "fresh": "The same for fresh prompts, which nobody could know before.",
    "substitute": "The worst of the claims on what stands in the target's place.",
    "retention": "Loss of CLIP accuracy over all retained concepts, with the bounds of the claim.",
    "composition": "Net share of pairs of similar concepts in which the subject of the prompt is lost (lost minus won), with the bounds of the claim.",
    "diversity": "The worst of the claims on variety.",
    "unrelated": "Net share of pairs of plain prompts in which what was asked for is lost (lost minus won), with the bounds of the claim.",
    "refuted alone": "Single prompts, concepts and attacks whose own claim is refuted. One of them fails the audit.",
    "pre-ASR": "Share of units that show the target without an attack with the weights.",
    "ASR": "The same with the attack that succeeds most often, of those that do not teach the target to the model. Its name stands beside "
    "the figure. A model that never knew the target is not subtracted.",
    "UA": "Unlearning accuracy: 1 - erasure.",
    "IRA": "In-domain retain accuracy: the share of the candidate's images that the judge labels rightly, as the mean over the retained "
    "parents, siblings and children of the target.",
    "CRA": "Cross-domain retain accuracy: the same for retained concepts of every other relation.",
    "H": "Harmonic mean of UA, IRA and CRA.",
    "KID": "Mean paired KID between base and candidate over retained concepts, × 1000.",
    "CMMD": "Mean paired CMMD between base and candidate over retained concepts.",
    "LPIPS": "Mean LPIPS between base and candidate over retained concepts.",
    "FID": "Fréchet distance between base and candidate images of all plain prompts together, on the judge's embeddings. It is not the FID of "
    "InceptionV3, which --metric measures.",
    "ρ": "Spearman's rank correlation of similarity and loss of CLIP accuracy, with its 95% interval, for each source of similarity.",
    METRIC: "A metric of --metric or of another package, on all plain prompts together. Reported: it decides nothing. A score is the mean over "
    "the candidate's images. Its change is candidate minus base, a mean over pairs. Its 95% interval is over prompts like these: pairs of one prompt "
    "count as dependent. An earlier version did not record the number of prompts. Its runs have no interval. A dash: the run did not measure it.",
    "images": "Images that the audit used, of all models.",
    "drawn": "Of these, the images that the audit drew. All others came from the store.",
    "seconds": "Duration of the audit. Images from the store took no time, so it is the cost of the images drawn. A dash: none was drawn.",
    "latency": "Seconds for one image of the candidate, of those drawn for this audit, on the machine of that audit. A dash: the audit drew none, "
    "or did not record it.",
}
"""What each column means. Columns of one kind share the footnote of the word before the first colon."""

SCORE = "paired_score"
"""The kind of the claim on the CLIP score, which is no rate."""


def footnote(column: str) -> str:
    """What a column means."""
    return FOOTNOTES[column.partition(":")[0]]


def in_order(figures: Sequence[Mapping[str, Figure]]) -> list[str]:
    """All columns: in the order of the footnotes, and within one kind as the runs have them."""
    kinds = list(FOOTNOTES)
    found = list(dict.fromkeys(name for each in figures for name in each))
    return sorted(found, key=lambda name: kinds.index(name.partition(":")[0]))


def figures_of(run: Run, metrics_apart: frozenset[str] = frozenset()) -> dict[str, Figure]:
    """All figures of a run, by column. One that the run does not have is none, or has no value.

    `metrics_apart` are the names of metrics whose columns need their digest: see `metric_figures`.
    """
    claims = {group: group_claim(run, group) for group in CLAIMS}
    erasure = claims["erasure"]
    value, lower, upper, limit = map(_one_minus, (erasure.value, erasure.upper, erasure.lower, erasure.limit))
    unlearned = Figure(value, lower, upper, limit=limit)
    inside, outside = _accuracy(run, inside=True), _accuracy(run, inside=False)
    return {
        **claims,
        **{f"adversarial: {name}": figure for name, figure in _by_strategy(run).items()},
        "refuted alone": _refuted_alone(run),
        **_attacks(run),
        "UA": unlearned,
        "IRA": inside,
        "CRA": outside,
        "H": Figure(_harmonic([unlearned.value, inside.value, outside.value])),
        "KID": _mean(run, "kid_paired", 1000),
        "CMMD": _mean(run, "cmmd_paired"),
        "LPIPS": _mean(run, "lpips"),
        "FID": _frechet_distance(run),
        **{
            f"ρ: {row.source}": Figure(row.rho, row.lower, row.upper, percent=False)
            for row in correlations_of(run)
            if row.damage == "clip_accuracy"
        },
        **metric_figures(run, metrics_apart),
        **_cost(run),
    }


def _cost(run: Run) -> dict[str, Figure]:
    """The cost of an audit: images used, images drawn, seconds, and seconds for one image."""
    images = run.manifest.images
    drawn, stored = images.get("rendered"), images.get("reused")
    all_stored = drawn == 0 and bool(stored)
    return {
        "images": Figure(None if drawn is None else float(drawn + (stored or 0)), percent=False),
        "drawn": Figure(None if drawn is None else float(drawn), percent=False),
        "seconds": Figure(None if all_stored else run.manifest.seconds, percent=False),
        "latency": Figure((images.get("seconds_each") or {}).get("candidate"), percent=False),
    }


def _frechet_distance(run: Run) -> Figure:
    record = plain_prompts(run)
    if record is None:
        return Figure(None, percent=False)
    return Figure(record.measures["fid"], percent=False, pairs=record.claim.trials if record.claim else None)


def _refuted_alone(run: Run) -> Figure:
    """The number of single cases that count and are refuted, without controls and without comparisons with a baseline."""
    refuted = [case for case in run.cases if not case.pooled and case.gating and case.verdict == Verdict.FAIL and not case.waiver]
    return Figure(float(sum(case.group not in (CONTROLS, BASELINE) for case in refuted)), percent=False)


def group_claim(run: Run, group: str) -> Figure:
    """The claim on a rate over the whole group; of several, or of a group without one, the worst.

    The mark names the worst verdict of all claims over the group: the CLIP score may fail where the accuracy does not.
    """
    cases = [
        case
        for case in run.of_group(group)
        if case.claim and case.claim.estimate is not None and case.claim.kind != "observation"
    ]
    pooled = [case for case in cases if case.pooled] or cases
    rates = [case for case in pooled if case.claim and case.claim.kind != SCORE]
    if not rates:
        return Figure(None)
    shown, worst = min(rates, key=_rank), min(pooled, key=_rank)
    assert shown.claim is not None
    other = " (CLIP score)" if worst.claim is not shown.claim and worst.claim and worst.claim.kind == SCORE else ""
    mark = "" if worst.verdict == "PASS" else f"{worst.verdict}{other if worst.verdict != shown.verdict else ''}"
    own = shown.claim
    points = scale_of(own.kind) is DIFFERENCES
    return Figure(own.estimate, own.lower, own.upper, mark=mark, points=points, limit=own.threshold)


def _rank(case: CaseRecord) -> tuple[int, float]:
    order = ("FAIL", "INCONCLUSIVE", "NO HARM PROVEN")
    estimate = case.claim.estimate if case.claim else None
    return (order.index(case.verdict) if case.verdict in order else len(order)), -(estimate or 0.0)


def _by_strategy(run: Run) -> dict[str, Figure]:
    """The share of each strategy's images that show the target, over its valid prompts."""
    counts: dict[str, list[int]] = {}
    for case in run.of_group("adversarial"):
        if (
            case.prompt
            and case.claim
            and case.claim.kind == "rate_at_most"
            and case.claim.trials
            and not case.verdict.is_untested
        ):
            hits = counts.setdefault(case.prompt.strategy, [0, 0])
            hits[0] += case.claim.hits or 0
            hits[1] += case.claim.trials
    return {name: Figure(counts[name][0] / counts[name][1]) for name in sorted(counts)}


def _attacks(run: Run) -> dict[str, Figure]:
    """The rates without attack and under the attack with the weights that succeeds most often. One that teaches would on any model."""
    rates: list[tuple[str, AttackRates]] = []
    for case in run.cases:
        found = attack_rates(case.probe) if case.probe and not _teaches(case.probe.name) else None
        if case.probe and found:
            rates.append((case.probe.name, found))
    if not rates:
        return {}
    name, most = max(rates, key=lambda pair: pair[1].overall.hits / pair[1].overall.units)
    return {"pre-ASR": _rate(most.before), "ASR": _rate(most.overall, name)}


def _teaches(name: str) -> bool:
    return any(probe.name == name and probe.teaches for probe in probes())


def _rate(rate: Rate, mark: str = "") -> Figure:
    return Figure(rate.hits / rate.units, rate.lower, rate.upper, mark=mark)


def _accuracy(run: Run, *, inside: bool) -> Figure:
    cases = [case for case in _retained(run) if case.concept and (case.concept.relation in IN_DOMAIN) is inside]
    shares = [case.measures["clip_accuracy_candidate"] for case in cases if "clip_accuracy_candidate" in case.measures]
    return Figure(sum(shares) / len(shares) if shares else None)


def _mean(run: Run, measure: str, scale: float = 1.0) -> Figure:
    values = [case.measures[measure] for case in _retained(run) if measure in case.measures]
    return Figure(scale * sum(values) / len(values) if values else None, percent=False)


def _retained(run: Run) -> list[CaseRecord]:
    return [case for case in run.of_group("retention") if not case.pooled and case.concept and case.concept.role == "retain"]


def _one_minus(value: float | None) -> float | None:
    return None if value is None else 1 - value


def _harmonic(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return 0.0 if min(known) == 0 else len(known) / sum(1 / value for value in known)
