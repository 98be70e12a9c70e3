"""One case on the page: sentences, numbers, pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord, ConceptRecord, ImageRecord
from dmun_audit.report.formatting import (
    bound_on_scale,
    burden_text,
    claim_text,
    number,
    on_scale,
    one_line,
    percent,
    report_verdict,
)
from dmun_audit.report.html.drawings import Interval, interval
from dmun_audit.report.html.looks import LooksDrawing, looks_of
from dmun_audit.report.html.named_metrics import measure_title
from dmun_audit.report.html.thumbnails import LONGEST_SIDE, Thumbnail, thumbnail
from dmun_audit.report.pairs import Pair, pairs_of, shown_pairs
from dmun_audit.report.waivers import waiver_text
from dmun_audit.verdict.vocabulary import Stopping, Verdict

_MEASURES = {
    "clip_accuracy_base": "CLIP accuracy, base",
    "clip_accuracy_candidate": "CLIP accuracy, candidate",
    "clip_score_base": "CLIP score, base",
    "clip_score_candidate": "CLIP score, candidate",
    "kid": "KID between base and candidate",
    "kid_paired": "KID, paired",
    "kid_p_value": "p-value of the paired KID",
    "kid_p_holm": "p-value of the paired KID after Holm, over all concepts and distances",
    "kid_torchmetrics": "KID by torchmetrics, as a cross-check",
    "kid_unpaired": "KID over other seeds",
    "kid_noise_floor": "Noise floor of KID over other seeds",
    "cmmd_paired": "CMMD, paired",
    "cmmd_p_value": "p-value of the paired CMMD",
    "kid_p_combined": "p-value of the paired KID over all concepts together",
    "cmmd_p_combined": "p-value of the paired CMMD over all concepts together",
    "cmmd_p_holm": "p-value of the paired CMMD after Holm, over all concepts and distances",
    "cmmd_unpaired": "CMMD over other seeds",
    "cmmd_noise_floor": "Noise floor of CMMD over other seeds",
    "lpips": "LPIPS, mean over pairs",
    "clip_iqa_base": "CLIP-IQA, base",
    "clip_iqa_candidate": "CLIP-IQA, candidate",
    "collapsed_base": "Empty images, base",
    "collapsed_candidate": "Empty images, candidate",
    "threshold": "Detection threshold of the target score",
    "calibration_images": "Images on which the threshold was calibrated",
    "threshold_lowest": "Lowest threshold, before calibration",
    "threshold_view": "Detection threshold in the view with stretched contrast",
    "false_positive_rate_lowest": "False positive rate at the lowest threshold",
    "empty_share": "Empty images of direct prompts",
    "subject_base": "Subject recognised, base",
    "subject_candidate": "Subject recognised, candidate",
    "spread_base": "Mean cosine distance between seeds, base",
    "spread_candidate": "Mean cosine distance between seeds, candidate",
    **{f"unusual_{way}": f"Images with unusual {way}" for way in ("brightness", "contrast", "detail", "grain", "softness")},
    **{
        f"weakened_{kind}_{part}": f"{kind.capitalize()} copies {words}"
        for kind in ("darkened", "veiled", "blurred", "noised", "shrunk", "recoloured", "rotated")
        for part, words in (("detected", "that the judge detects"), ("caught", "that the audit catches"))
    },
    "true_rate_upper": "Upper bound on the true rate, judge's errors included",
    "true_rate_lower": "Lower bound on the true rate, judge's errors included",
}
_SHARES = ("accuracy", "rate", "collapsed", "empty_share", "subject", "unusual", "weakened")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class Side:
    """One picture of a pair with its caption."""

    model: str
    thumbnail: Thumbnail | None
    alternative: str
    caption: tuple[str, ...]
    detected: bool


@dataclass(frozen=True)
class PairView:
    """The pictures of one prompt, index and seed."""

    prompt: str  # empty if all pictures of the case share it
    index: int
    seed: str
    sides: tuple[Side, ...]
    against_claim: bool


@dataclass(frozen=True)
class CaseView:
    """One case of the page."""

    id: str
    group: str
    verdict: str  # as reports say it
    decided: Verdict
    title: str
    glance: str
    reach: str  # the limit of what the verdict means; empty if there is none
    waiver: str  # the text of its waiver; empty if there is none
    opened: bool
    pooled: bool
    gating: bool
    question: str
    result: str
    remedy: str
    prompt: str
    language: str
    kind: str  # its strategy or relation; empty if it has none
    origin: str  # how an adversarial prompt was found
    concept: ConceptRecord | None
    interval: Interval | None
    looks: LooksDrawing | None
    numbers: tuple[tuple[str, str], ...]
    measures: tuple[tuple[str, str], ...]
    pairs: tuple[PairView, ...]
    pairs_left_out: int


def view_case(run: Run, record: CaseRecord) -> CaseView:
    """The view of one evidence record. It reads pictures from the run folder."""
    prompt, pairs = record.prompt, shown_pairs(record, len(run.cases))
    one_prompt = len({pair.prompt for pair in pairs}) < 2
    return CaseView(
        id=record.case_id,
        group=record.group,
        verdict=report_verdict(record),
        decided=record.verdict,
        title=one_line(record.title or record.case_id),
        glance=_glance(record.claim),
        reach=_reach(record),
        waiver=waiver_text(record),
        opened=record.verdict.is_failure and record.probe is None,  # probes are shown above their cases
        pooled=record.pooled,
        gating=record.gating,
        question=one_line(record.asked),
        result=one_line(record.seen),
        remedy=one_line(record.remedy),
        prompt=one_line(prompt.text if prompt else ""),
        language=prompt.language if prompt and _LANGUAGE.fullmatch(prompt.language) else "",
        kind=one_line(prompt.strategy if prompt else record.concept.relation if record.concept else ""),
        origin=one_line(prompt.note if prompt else ""),
        concept=record.concept,
        interval=interval(record.claim),
        looks=looks_of(run, record),
        numbers=(*_numbers(record.claim), *_calibration(record)),
        measures=tuple(
            (_MEASURES.get(name) or measure_title(name), percent(value) if _is_share(name) else number(value))
            for name, value in record.measures.items()
        ),
        pairs=tuple(view_pair(run, pair, one_prompt) for pair in pairs),
        pairs_left_out=len(pairs_of(record)) - len(pairs),
    )


def _is_share(name: str) -> bool:
    """Whether a built-in measure is a share. The scale of other packages' metrics is unknown."""
    return name in _MEASURES and any(word in name for word in _SHARES)


def view_pair(run: Run, pair: Pair, one_prompt: bool = False, longest: int = LONGEST_SIDE) -> PairView:
    """The view of one pair, with pictures of at most `longest` pixels a side. `one_prompt` leaves the prompt out."""
    images = [image for image in (pair.base, pair.candidate) if image]
    seeds = {"–" if image.seed is None else str(image.seed) for image in images}
    sides = tuple(_view_side(run, image, longest) for image in images)
    return PairView("" if one_prompt else one_line(pair.prompt), pair.index, ", ".join(sorted(seeds)), sides, pair.against_claim)


def _view_side(run: Run, image: ImageRecord, longest: int) -> Side:
    caption = []
    if image.target_score is not None:
        caption.append(f"target {number(image.target_score, 2)}")
    if image.view_score is not None:
        caption.append(f"stretched {number(image.view_score, 2)}")
    if image.detected is not None:
        caption.append("detected" if image.detected else "not detected")
    if image.second_detected is not None:
        caption.append("second judge: " + ("detected" if image.second_detected else "not detected"))
    if image.clip_score is not None:
        caption.append(f"CLIP {number(image.clip_score, 2)}")
    if image.label:
        caption.append(f"label: {one_line(image.label)}")
    seed = "–" if image.seed is None else image.seed
    alternative = f"Image by the {image.model} model, seed {seed}, prompt: {one_line(image.prompt)}"
    if image.detected is not None:
        alternative += ". The target is detected." if image.detected else ". The target is not detected."
    return Side(image.model, thumbnail(run.image(image.key), longest), alternative, tuple(caption), bool(image.detected))


def _glance(claim: ClaimRecord | None) -> str:
    if claim is None:
        return ""
    if claim.hits is not None and claim.trials is not None:
        return f"{number(claim.hits)} of {number(claim.trials)}"
    return on_scale(claim, claim.estimate) if claim.estimate is not None else ""


def _reach(record: CaseRecord) -> str:
    if not record.gating:
        return "reported only"
    harm_only = record.claim is not None and record.claim.harm_only
    return "no harm proven" if harm_only and record.verdict == Verdict.PASS else ""


def _calibration(record: CaseRecord) -> tuple[tuple[str, str], ...]:
    """The calibration images that set the detection thresholds."""
    rows = []
    for image in record.calibration or ():
        name = f"{one_line(image.prompt or image.key)}, image {number(image.index)}"
        if image.sets_threshold:
            rows.append(("Image without the target that sets the threshold", f"{name}, score {number(image.target_score)}"))
        if image.sets_view_threshold:
            rows.append(("Image that sets the threshold of the view", f"{name}, score {number(image.view_score)}"))
    return tuple(rows)


def _numbers(claim: ClaimRecord | None) -> tuple[tuple[str, str], ...]:
    if claim is None:
        return ()
    rows = [("In short", claim_text(claim)), ("Burden of proof", burden_text(claim))]
    proof_from_below = claim.kind == "rate_at_least"
    for bound, side, level in (
        (claim.lower, "lower", claim.alpha_pass if proof_from_below else claim.alpha_fail),
        (claim.upper, "upper", claim.alpha_fail if proof_from_below else claim.alpha_pass),
    ):
        if bound is not None:
            error = f" at error rate {number(level)}" if level is not None else ""
            rows.append((f"{side.capitalize()} bound, one-sided", bound_on_scale(claim, bound, side) + error))
    for value, label in (
        (claim.p_value, "p-value"),
        (claim.p_refuted, "p-value against the claim"),
        (claim.p_imagined, "p-value, if all hits are false positives"),
        (claim.holm, "p-value after Holm"),
    ):
        if value is not None:
            rows.append((label, number(value)))
    early, unit = claim.stopping == Stopping.EARLY, "pairs" if claim.kind in {"paired_accuracy", "baseline"} else "images"
    if early and claim.planned is not None:
        looks = ", ".join(map(number, claim.looks)) or "–"
        rows.append(("Looks", f"after {looks} of at most {number(claim.planned)} {unit}; the claim may stop at any look"))
    if claim.needed is not None:
        label = "in all that would be enough at this rate" if early else "that a new audit would need"
        rows.append((f"{unit.capitalize()} {label}", number(claim.needed)))
    return tuple(row for row in rows if row[1])
