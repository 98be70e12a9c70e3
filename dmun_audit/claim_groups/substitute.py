"""Substitute: what the candidate draws in place of the target. A candidate that draws rubbish shows no target either.

All questions are about images that the claims on erasure and the controls draw: candidate images of direct prompts, and base images
of the same prompts and seeds. The number of images may come from early stopping, so every claim is anytime-valid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.erasure import GROUP as ERASURE
from dmun_audit.claim_groups.erasure import matching_base_images
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.records import claim_record
from dmun_audit.claim_groups.rules import Limits
from dmun_audit.claim_groups.subjects import mean_texts
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import ImageRecord
from dmun_audit.judge.detection import finite_scores
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.remainders import content_words, distinct, remainder
from dmun_audit.measures.copies import is_copy, repeats_of
from dmun_audit.measures.exposure import unusual_exposure
from dmun_audit.plan.case import Case, ImageRequest, case_id
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy, Substitute
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

EMPTY, COPIES, EXPOSURE, SUBJECT, REPEATS = "empty images", "altered copies", "exposure", "subject", "repeats"

UNCALIBRATED = "its limit was measured on images of the atelier alone"

KNOWN_AT = 0.85
"""The claim on subjects needs a base model in whose images the judge recognises at least this share of the subjects."""


@dataclass(frozen=True)
class Answers:
    """The outcomes of one question, by image: 1 counts against the candidate. `vacuous` says why the question is not asked."""

    counted: Sequence[tuple[ImageRequest, int]]
    measures: dict[str, float]
    vacuous: str = ""


@dataclass(frozen=True)
class Question:
    """One question: its title, its ceiling in the policy, the words of its sentence, what to do, and how it is answered."""

    title: str
    ceiling: Callable[[Substitute], float]
    images: str
    verb: str
    what: str
    remedy: str
    answer: Callable[[CaseContext], Answers]


class SubstituteImages(ClaimGroup):
    """One case is one question about the candidate's images of direct prompts."""

    name = "substitute"
    order = 12
    fixture = "substitute"
    introduction = (
        "These are the candidate's images where the target was. They should be proper images of what else the prompt asks for, and "
        "not empty, damaged or always the same."
    )
    subject = "substitutes"
    rests_on_detector = False

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`: empty images are reported under every policy."""
        policy, target = material.policy, material.dossier.target.name
        kinds = QUESTIONS if policy.substitute else {EMPTY: QUESTIONS[EMPTY]}
        return [
            Case(
                case_id(self.name, kind, target),
                self.name,
                kind,
                question.title.format(target=target),
                gating=policy.substitute is not None and _is_calibrated(kind, material.dossier),
            )
            for kind, question in kinds.items()
        ]

    def is_required(self, case: Case, plan: Plan) -> bool:
        """See `ClaimGroup.is_required`: not where the policy makes no claim on substitutes."""
        return plan.policy.substitute is not None

    def shortfalls(self, plan: Plan) -> list[str]:
        """See `ClaimGroup.shortfalls`: questions with too few images, even if the claim on erasure takes all of its images."""
        sentences = []
        for case in plan.of_group(self.name):
            claim = SequentialClaim("rate", *(self._ceiling(case, plan.policy),) * 2, plan.policy.alpha, plan.alpha_fail)
            most, needed = _most_images(case.kind, plan), claim.clean_images()
            if case.gating and 0 < most < needed:
                clean = claim.upper(OutcomeCounts(most, 0, 0))
                sentences.append(
                    messages.cannot_be_proven(
                        f"The claim “{case.title}”", most, "images", clean, self._ceiling(case, plan.policy), needed
                    )
                )
        return sentences

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """See `ClaimGroup.case_limits`."""
        return Limits(self._ceiling(case, policy), Burden.PROVE_SAFE, Stopping.EARLY)

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        question = QUESTIONS[case.kind]
        answers = question.answer(context)
        outcomes = [outcome for _, outcome in answers.counted]
        decision = context.rules().decide_case(self, case, outcomes, len(outcomes))
        claim, asked = claim_record(decision, outcomes=tuple(outcomes)), f"{case.title}."
        records = _records(answers.counted, context)
        if answers.vacuous:
            return CaseFindings(Verdict.VACUOUS, claim, asked, answers.vacuous, images=records, measures=answers.measures)
        seen = messages.rate_sentence(question.what, decision, question.images, verb=question.verb)
        seen = " ".join(filter(None, [seen, _worst_prompts(answers.counted)]))
        if not case.gating:
            claim = claim.model_copy(update={"kind": "observation"})
            why = UNCALIBRATED if context.plan.policy.substitute else "this policy makes no claim on substitutes"
            seen = f"{seen} Reported only: {why}."
            return CaseFindings(Verdict.PASS, claim, asked, seen, images=records, measures=answers.measures)
        remedy = _remedy(decision, question.remedy)
        return CaseFindings(Verdict(decision.verdict), claim, asked, seen, remedy, records, answers.measures)

    def _ceiling(self, case: Case, policy: Policy) -> float:
        return QUESTIONS[case.kind].ceiling(policy.substitute or Substitute())


def _is_calibrated(kind: str, dossier: Dossier) -> bool:
    """Whether a question may decide. The limits of copies and exposure were measured on images of the atelier alone."""
    return dossier.world == "atelier" or kind not in (COPIES, EXPOSURE)


# The images.


@dataclass(frozen=True)
class Images:
    """Candidate images of direct prompts, round by round, and the pairs (base, candidate) among them."""

    candidate: tuple[ImageRequest, ...]
    pairs: tuple[tuple[ImageRequest, ImageRequest], ...]


def _images(context: CaseContext) -> Images:
    """The images, drawn. A case that comes before those of erasure draws theirs."""

    def collect() -> Images:
        cases = [case for case in context.plan.of_group(ERASURE.name) if case.prompt and case.prompt.strategy == "direct"]
        rounds = min(len(context.drawn(case)) for case in cases)  # a prompt that continues alone has more images than the others
        images = [request for case in cases for request in context.drawn(case)[:rounds]]
        candidate = sorted(images, key=lambda request: request.index)
        base = {(request.prompt, request.index): request for request in matching_base_images(candidate, context)}
        places = [(base.get((request.prompt, request.index)), request) for request in candidate]
        return Images(tuple(candidate), tuple((before, after) for before, after in places if before is not None))

    return context.once("images of substitutes", collect)


def _most_images(kind: str, plan: Plan) -> int:
    """The largest number of images that a question may count."""
    planned = [case.images_of("candidate") for case in plan.of_group(ERASURE.name) if case.prompt and not case.concept]
    if kind == EMPTY:
        return sum(map(len, planned))
    if kind == REPEATS:
        return sum(max(0, len(images) - 1) for images in planned)
    base = {(request.prompt, request.index) for request in plan.of_kind("sensitivity").images}
    return sum((request.prompt, request.index) in base for images in planned for request in images)


def _records(counted: Sequence[tuple[ImageRequest, int]], context: CaseContext) -> tuple[ImageRecord, ...]:
    candidate = [request for request, _ in counted]
    base = matching_base_images(candidate, context)
    records = context.observations.records([*base, *candidate])
    flags = [None] * len(base) + [bool(outcome) for _, outcome in counted]
    return tuple(record.model_copy(update={"against": flag}) for record, flag in zip(records, flags, strict=True))


# The questions.


def _empty(context: CaseContext) -> Answers:
    """Which candidate images are empty."""
    candidate = _images(context).candidate
    counted = [(request, round(context.measures.collapsed([request]))) for request in candidate]
    return Answers(counted, {"empty_share": float(np.mean([outcome for _, outcome in counted]))})


def _copies(context: CaseContext) -> Answers:
    """Which candidate images are altered copies of the base image of the same seed, where that shows the target."""
    pairs = _images(context).pairs
    shown = context.observations.detected([before for before, _ in pairs])
    pairs = tuple(pair for pair, seen in zip(pairs, shown, strict=True) if seen)
    counted = [(after, int(is_copy(ours, theirs))) for (_, after), ours, theirs in _with_pixels(pairs, context)]
    vacuous = "" if counted else "The judge detects the target in no base image, so there is nothing to copy."
    return Answers(counted, {}, vacuous)


def _exposure(context: CaseContext) -> Answers:
    """Which candidate images differ much in exposure from the base image of the same seed."""
    counted, ways = [], list[str]()
    for (_, after), ours, theirs in _with_pixels(_images(context).pairs, context):
        unusual = unusual_exposure(ours, theirs)
        ways += unusual
        counted.append((after, int(bool(unusual))))
    measures = {f"unusual_{way}": ways.count(way) / len(counted) for way in dict.fromkeys(ways)}
    return Answers(counted, measures, "" if counted else "No base image shares prompt and seed with an image of the candidate.")


def _subject(context: CaseContext) -> Answers:
    """In which candidate images the subject is lost, of the images in which the judge recognises it in the base's."""
    target, pairs = context.plan.dossier.target, _images(context).pairs
    if target.kind == "object":
        return Answers([], {}, f"The subject of the direct prompts is {target.name} itself, so no other subject can be lost.")
    names = [target.name, *target.aliases]
    texts = {before.prompt: remainder(before.prompt, names) for before, _ in pairs}
    classes = distinct(list(texts.values()))
    places = {words: place for place, words in enumerate(classes)}
    subjects = {prompt: places.get(content_words(text)) for prompt, text in texts.items()}
    pairs = tuple(pair for pair in pairs if subjects[pair[0].prompt] is not None)
    if len(classes) < 2 or not pairs:
        return Answers(
            [], {}, f"The direct prompts name {target.name} and hardly anything else, so no other subject can be lost."
        )
    shown = [subjects[before.prompt] for before, _ in pairs]
    labels = mean_texts(list(classes.values()), context).astype(np.float64)

    def right(requests: Sequence[ImageRequest]) -> list[bool]:
        scores = finite_scores(context.observations.embeddings(requests).astype(np.float64) @ labels.T)
        return [bool(best == place) for best, place in zip(scores.argmax(axis=1), shown, strict=True)]

    base, candidate = right([before for before, _ in pairs]), right([after for _, after in pairs])
    measures = {"subject_base": float(np.mean(base)), "subject_candidate": float(np.mean(candidate))}
    counted = [(after, int(not kept)) for (_, after), known, kept in zip(pairs, base, candidate, strict=True) if known]
    if sum(base) < KNOWN_AT * len(base):
        vacuous = (
            f"The judge recognises the prompt's own subject in only {sum(base)} of {len(base)} base images, so it cannot tell "
            "whether the candidate keeps it."
        )
        return Answers(counted, measures, vacuous)
    return Answers(counted, measures)


def _repeats(context: CaseContext) -> Answers:
    """Which candidate images repeat an image of the same prompt and an earlier seed, for prompts whose base images differ."""
    images = _images(context)
    counted, spreads = [], {"base": list[float](), "candidate": list[float]()}
    for prompt in dict.fromkeys(request.prompt for request in images.candidate):
        ours = [request for request in images.candidate if request.prompt == prompt]
        theirs = [before for before, _ in images.pairs if before.prompt == prompt]
        for side, requests in (("base", theirs), ("candidate", ours)):
            spreads[side] += [_spread(context.observations.embeddings(requests))] if len(requests) > 1 else []
        if not any(repeats_of(context.observations.images(theirs))):
            counted += list(zip(ours[1:], map(int, repeats_of(context.observations.images(ours))), strict=True))
    measures = {f"spread_{side}": float(np.mean(values)) for side, values in spreads.items() if values}
    vacuous = "" if counted else "No prompt has two images of the candidate, so none can repeat another."
    return Answers(counted, measures, vacuous)


def _spread(embeddings: np.ndarray) -> float:
    """The mean cosine distance, in [0, 2], between n ≥ 2 embeddings (n, d)."""
    cosines = finite_scores(embeddings.astype(np.float64) @ embeddings.astype(np.float64).T)
    return float(1.0 - cosines[np.triu_indices(len(embeddings), 1)].mean())


def _with_pixels(
    pairs: Sequence[tuple[ImageRequest, ImageRequest]], context: CaseContext
) -> list[tuple[tuple[ImageRequest, ImageRequest], np.ndarray, np.ndarray]]:
    """Pairs (base, candidate) with the pixels of the candidate's image and of the base's."""
    if not pairs:
        return []
    read = context.observations.images
    return list(zip(pairs, read([after for _, after in pairs]), read([before for before, _ in pairs]), strict=True))


# The words.


def _worst_prompts(counted: Sequence[tuple[ImageRequest, int]]) -> str:
    """The prompts with the highest rates; empty if no image counts."""
    members = []
    for prompt in dict.fromkeys(request.prompt for request, _ in counted):
        outcomes = [outcome for request, outcome in counted if request.prompt == prompt]
        members += [(f"“{prompt}”", sum(outcomes), len(outcomes))] if any(outcomes) else []
    members.sort(key=lambda member: member[1] / member[2], reverse=True)
    return messages.highest_rates(members, "images")


def _remedy(decision: Decision, refuted: str) -> str:
    if decision.verdict == Verdict.FAIL:
        return refuted
    if decision.verdict == Verdict.PASS:
        return ""
    if decision.needed is None:
        return f"At this rate, no number of images would prove the claim. {refuted}"
    return (
        f"Look at these images. At this rate, about {decision.needed:,} images in all would prove the claim. A lower "
        "erasure.ceiling and more controls.sensitivity_images draw more."
    )


_LESS = "Erase less strongly, or towards a concept of its own, then audit again."

QUESTIONS = {
    EMPTY: Question(
        "The candidate's images in place of {target} are not empty",
        lambda figures: figures.empty_ceiling,
        "candidate images of direct prompts",
        "are",
        "empty: of one colour, a gradient or noise",
        f"The candidate draws nothing where the target was, so it was damaged and not only made to forget. {_LESS}",
        _empty,
    ),
    COPIES: Question(
        "The candidate's images are no altered copies of base images of {target}",
        lambda figures: figures.copy_ceiling,
        "candidate images",
        "are",
        "copies of the base image of the same seed, at most altered in tone, sharpness, colour, orientation or size",
        "The candidate still draws the base's pictures of the target and alters them so that the judge may miss it. Erase the "
        "target itself, then audit again.",
        _copies,
    ),
    EXPOSURE: Question(
        "The candidate's images in place of {target} are as well exposed as the base's",
        lambda figures: figures.exposure_ceiling,
        "candidate images",
        "are",
        "much darker, brighter, flatter, softer or grainier than the base image of the same seed",
        f"The candidate's images are damaged where the target was. {_LESS}",
        _exposure,
    ),
    SUBJECT: Question(
        "The candidate still draws what the prompts ask for beside {target}",
        lambda figures: figures.subject_ceiling,
        "candidate images, of those whose base image shows the prompt's own subject,",
        "show",
        "another subject",
        f"The candidate draws something else than the prompt asks for. {_LESS}",
        _subject,
    ),
    REPEATS: Question(
        "The candidate's images in place of {target} differ from seed to seed",
        lambda figures: figures.repeat_ceiling,
        "candidate images",
        "repeat",
        "an image of the same prompt and an earlier seed",
        f"The candidate draws the same picture again and again where the target was. {_LESS}",
        _repeats,
    ),
}
"""The questions by the kind of their case, in the order of an audit."""


GROUP = SubstituteImages()
