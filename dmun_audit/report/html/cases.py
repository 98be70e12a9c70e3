"""What the page says of one case: sentences, numbers, pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmun_audit.report.formatting import (
    FAILING,
    burden_words,
    claim_words,
    is_number,
    number,
    on_scale,
    one_line,
    percent,
    shown_verdict,
)
from dmun_audit.report.html.drawings import Interval, interval
from dmun_audit.report.html.thumbnails import Thumbnail, thumbnail
from dmun_audit.report.pairs import Pair, pairs_of, shown_pairs
from dmun_audit.report.run import Record, Run
from dmun_audit.report.waivers import waiver_words

_MEASURES = {
    "clip_accuracy_base": "CLIP accuracy, base",
    "clip_accuracy_candidate": "CLIP accuracy, candidate",
    "clip_score_base": "CLIP score, base",
    "clip_score_candidate": "CLIP score, candidate",
    "kid": "KID between base and candidate",
    "kid_paired": "KID, paired",
    "kid_p_value": "p-value of the paired KID",
    "kid_p_holm": "p-value of the paired KID after Holm, over all concepts and distances",
    "kid_torchmetrics": "KID by torchmetrics, a check of ours",
    "kid_unpaired": "KID over other seeds",
    "kid_noise_floor": "Noise floor of KID over other seeds",
    "cmmd_paired": "CMMD, paired",
    "cmmd_p_value": "p-value of the paired CMMD",
    "cmmd_p_holm": "p-value of the paired CMMD after Holm, over all concepts and distances",
    "cmmd_unpaired": "CMMD over other seeds",
    "cmmd_noise_floor": "Noise floor of CMMD over other seeds",
    "lpips": "LPIPS, mean over pairs",
    "clip_iqa_base": "CLIP-IQA, base",
    "clip_iqa_candidate": "CLIP-IQA, candidate",
    "collapsed_base": "Empty images, base",
    "collapsed_candidate": "Empty images, candidate",
    "threshold": "Target score from which the target counts as seen",
    "calibration_images": "Images that this threshold was calibrated on",
    "true_rate_upper": "True rate at most, judge's errors carried in",
    "true_rate_lower": "True rate at least, judge's errors carried in",
}
_SHARES = ("accuracy", "rate", "collapsed")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class Side:
    """One picture of a pair, with what is said under it."""

    model: str
    thumbnail: Thumbnail | None
    alternative: str
    caption: tuple[str, ...]
    detected: bool


@dataclass(frozen=True)
class PairView:
    """The pictures of one prompt, index and seed."""

    prompt: str  # empty where all pictures of the case share it
    index: int
    seed: str
    sides: tuple[Side, ...]
    telling: bool


@dataclass(frozen=True)
class CaseView:
    """One case as the page shows it."""

    id: str
    group: str
    verdict: str
    title: str
    glance: str
    reach: str  # what the verdict does not say; empty where it says all
    waiver: str  # what a waiver says of it; empty where there is none
    opened: bool
    pooled: bool
    gating: bool
    asked: str
    seen: str
    remedy: str
    prompt: str
    strategy: str
    language: str
    found: str  # how an adversarial prompt was found, where it was not simply thought of
    concept: Mapping[str, Any]
    interval: Interval | None
    numbers: tuple[tuple[str, str], ...]
    measures: tuple[tuple[str, str], ...]
    pairs: tuple[PairView, ...]
    pairs_left_out: int


def view_case(run: Run, record: Record) -> CaseView:
    """The view of one evidence record; its pictures are read from the run folder."""
    claim, prompt = record.get("claim") or {}, record.get("prompt") or {}
    language = str(prompt.get("language") or "")
    pairs = shown_pairs(record)
    one_prompt = len({pair.prompt for pair in pairs}) < 2
    return CaseView(
        id=record["case_id"],
        group=str(record.get("group")),
        verdict=shown_verdict(record),
        title=one_line(record.get("title") or record["case_id"]),
        glance=_glance(claim),
        reach=_reach(record),
        waiver=waiver_words(record),
        opened=record.get("verdict") in FAILING,
        pooled=bool(record.get("pooled")),
        gating=bool(record.get("gating")),
        asked=one_line(record.get("asked") or ""),
        seen=one_line(record.get("seen") or ""),
        remedy=one_line(record.get("remedy") or ""),
        prompt=one_line(prompt.get("text") or ""),
        strategy=one_line(prompt.get("strategy") or ""),
        language=language if _LANGUAGE.fullmatch(language) else "",
        found=one_line(prompt.get("note") or ""),
        concept=record.get("concept") or {},
        interval=interval(claim),
        numbers=_numbers(claim),
        measures=tuple(
            (_MEASURES.get(name, one_line(name)), percent(value) if any(word in name for word in _SHARES) else number(value))
            for name, value in (record.get("measures") or {}).items()
        ),
        pairs=tuple(_view_pair(run, pair, one_prompt) for pair in pairs),
        pairs_left_out=len(pairs_of(record)) - len(pairs),
    )


def _view_pair(run: Run, pair: Pair, one_prompt: bool) -> PairView:
    sides = tuple(_view_side(run, image) for image in (pair.base, pair.candidate) if image)
    seeds = {str(image.get("seed", "–")) for image in (pair.base, pair.candidate) if image}
    prompt = "" if one_prompt else one_line(pair.prompt)
    return PairView(prompt, pair.index, ", ".join(sorted(seeds)), sides, pair.telling)


def _view_side(run: Run, image: Mapping[str, Any]) -> Side:
    model, detected = one_line(image.get("model", "")), image.get("detected")
    caption = []
    if is_number(image.get("target_score")):
        caption.append(f"target {number(image['target_score'], 2)}")
    if detected is not None:
        caption.append("detected" if detected else "not detected")
    if image.get("second_detected") is not None:
        caption.append("second judge: " + ("detected" if image["second_detected"] else "not detected"))
    if is_number(image.get("clip_score")):
        caption.append(f"CLIP {number(image['clip_score'], 2)}")
    if image.get("label"):
        caption.append(f"seen as {one_line(image['label'])}")
    said = f"Image by the {model} model, seed {image.get('seed', '–')}, prompt: {one_line(image.get('prompt', ''))}"
    if detected is not None:
        said += ". The target is detected." if detected else ". The target is not detected."
    return Side(model, thumbnail(run.image(image.get("key"))), said, tuple(caption), bool(detected))


def _glance(claim: Mapping[str, Any]) -> str:
    if is_number(claim.get("hits")) and is_number(claim.get("trials")):
        return f"{number(claim['hits'])} of {number(claim['trials'])}"
    return on_scale(claim, claim["estimate"]) if is_number(claim.get("estimate")) else ""


def _reach(record: Record) -> str:
    if not record.get("gating"):
        return "reported only"
    harm_only = (record.get("claim") or {}).get("burden") == "prove harm"
    return "no harm proven" if harm_only and record.get("verdict") == "PASS" else ""


def _numbers(claim: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if not claim:
        return ()
    rows = [("In short", claim_words(claim)), ("Burden of proof", burden_words(claim))]
    for name, label, level in (
        ("lower", "Lower bound, one-sided", "alpha_pass" if claim.get("kind") == "rate_at_least" else "alpha_fail"),
        ("upper", "Upper bound, one-sided", "alpha_fail" if claim.get("kind") == "rate_at_least" else "alpha_pass"),
    ):
        if is_number(claim.get(name)):
            error = f" at error rate {number(claim[level])}" if is_number(claim.get(level)) else ""
            rows.append((label, on_scale(claim, claim[name]) + error))
    for name, label in (
        ("p_value", "p-value"),
        ("p_refuted", "p-value against the claim"),
        ("p_imagined", "p-value, if the judge only imagined the hits"),
        ("holm", "p-value after Holm"),
    ):
        if is_number(claim.get(name)):
            rows.append((label, number(claim[name])))
    early, unit = claim.get("stopping") == "early", "pairs" if claim.get("kind") == "paired_accuracy" else "images"
    if early and is_number(claim.get("planned")):
        listed = claim.get("looks")
        looks = ", ".join(map(number, listed)) if isinstance(listed, list) else "–"
        rows.append(("Looked at", f"after {looks} {unit} of at most {number(claim['planned'])}; it may stop at any look"))
    if is_number(claim.get("needed")):
        label = "would be enough in all, if they go on like these" if early else "that a fresh audit would need"
        rows.append((f"{unit.capitalize()} {label}", number(claim["needed"])))
    return tuple(row for row in rows if row[1])
