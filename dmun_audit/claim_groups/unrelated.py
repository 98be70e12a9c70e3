"""Unrelated: plain prompts far from the target. The claim: the candidate draws what they ask for as well as the base model.

The judge retrieves the caption of an image: of all captions of the list, the one with the highest cosine to it. Captions that
mean the same, such as "a house" and "a painting of a house", are one. An empty image, of nearly one colour or static, shows
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dmun_audit.claim_groups.context import CaseContext, JudgeOutcomes
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.records import claim_record
from dmun_audit.claim_groups.retention_pairs import bound_sentence, listed
from dmun_audit.claim_groups.rules import Limits, Outcomes, Rules
from dmun_audit.claim_groups.subjects import mean_texts
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.knowledge.dossier import AdversarialPrompt
from dmun_audit.knowledge.plain_prompts import far_prompts
from dmun_audit.knowledge.remainders import distinct
from dmun_audit.knowledge.words.content_words import content_words
from dmun_audit.measures.frechet import frechet_distance
from dmun_audit.plan.case import Case, ImageRequest, Side, by_rounds, case_id, pooled_case, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.distances import kid, paired_sign_flip_test
from dmun_audit.verdict.paired import accuracy_loss_at_most
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

KNOWN_AT = 0.5
"""The claim counts if the judge retrieves the right caption from at least this share of the base's images."""

DISTANCES = "unrelated distances"
REMEDY = (
    "The candidate no longer draws what plain prompts ask for, although they have nothing to do with the target. Erase less "
    "strongly, or preserve plain prompts during unlearning, then audit again."
)


@dataclass(frozen=True)
class Captions:
    """The captions of the list by what they mean. `texts` (k, d) are unit vectors; a caption without content has no place."""

    names: tuple[str, ...]
    texts: np.ndarray
    of_prompt: dict[str, int]


class Unrelated(ClaimGroup):
    """One case is one plain prompt, on same-seed pairs of base and candidate. A last case measures distances between the images."""

    name = "unrelated"
    fault = "damages what is around it"
    order = 35
    fixture = "unrelated"
    draws_in_rounds = True
    introduction = (
        "These plain prompts have nothing to do with the target. With the same seeds, the candidate should draw what they ask for as "
        "well as the base model."
    )
    subject = "plain prompts"
    outcome = "paired"
    unit = "pairs"

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`."""
        figures, seed = material.policy.unrelated, material.audit_seed
        if figures is None:
            return []
        prompts = far_prompts(material.dossier, figures.prompts, material.unrelated)
        cases = [
            Case(
                case_id(self.name, prompt),
                self.name,
                "unrelated",
                f"“{prompt}” is still drawn",
                gating=False,
                images=(
                    *requests_for("base", [prompt], figures.pairs, seed),
                    *requests_for("candidate", [prompt], figures.pairs, seed),
                ),
                prompt=AdversarialPrompt(text=prompt, strategy="plain"),
            )
            for prompt in prompts
        ]
        distances = Case(
            case_id(self.name, "distances of all plain prompts"),
            self.name,
            DISTANCES,
            "How much the images of plain prompts changed",
            gating=False,
        )
        pooled = pooled_case(
            self.name,
            "unrelated pooled",
            "Over all plain prompts together, the candidate draws what they ask for",
            "all plain prompts together",
        )
        return [*cases, distances, pooled]

    def tried(self, records: Sequence[CaseRecord]) -> str:
        """See `ClaimGroup.tried`."""
        prompts = [record for record in records if record.prompt]
        return messages.tried(prompts, "plain prompt", "pair") if prompts else ""

    # Limits and rounds.

    def limits(self, policy: Policy) -> Limits | None:
        """See `ClaimGroup.limits`."""
        figures = policy.unrelated
        if figures is None:
            return None
        return Limits(figures.margin, Burden(figures.burden), Stopping(figures.stopping))

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """See `ClaimGroup.case_limits`: a single prompt is only reported."""
        return replace(super().case_limits(case, policy), burden=Burden.PROVE_HARM)

    def clean_outcomes(self, plan: Plan) -> list[list[int]]:
        """See `ClaimGroup.clean_outcomes`."""
        return [[0] * len(case.images_of("candidate")) for case in _prompts(plan)]

    # Drawing.

    def takes_part(self, case: Case, context: CaseContext) -> bool:
        """See `ClaimGroup.takes_part`: the case on distances draws nothing."""
        return case.kind != DISTANCES

    def rows(self, plan: Plan, side: Side) -> list[list[ImageRequest]]:
        """See `ClaimGroup.rows`: a single row, round by round."""
        return [by_rounds([list(case.images_of(side)) for case in _prompts(plan)])]

    def outcomes(self, case: Case, images: Sequence[ImageRequest], context: CaseContext) -> JudgeOutcomes:
        """See `ClaimGroup.outcomes`: 1 for a pair that the candidate lost, -1 for a pair that it won, else 0."""
        base = self._base_images(case, images, context)
        before, after = (_right(side, context) for side in (base, images))
        return JudgeOutcomes([one - other for one, other in zip(before, after, strict=True)])

    def _base_images(self, case: Case, images: Sequence[ImageRequest], context: CaseContext) -> tuple[ImageRequest, ...]:
        """The base images with the seeds of `images`, drawn."""
        base = case.images_of("base")[: len(images)]
        context.observations.draw(self.rows(context.plan, "base")[0], base)
        return base

    # Deciding.

    def fixed_decision(self, plan: Plan, outcomes: Sequence[Outcomes], limit: float) -> Decision:
        """See `ClaimGroup.fixed_decision`: the exact bounds."""
        every = [value for member in outcomes for value in member]
        return accuracy_loss_at_most(every.count(1), every.count(-1), len(every), limit, plan.policy.alpha, plan.alpha_fail)

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        if case.kind == DISTANCES:
            return self._distances(case, context)
        drawn, observations = context.drawn(case), context.observations
        base = self._base_images(case, drawn, context)
        outcomes = self.outcomes(case, drawn, context).first
        decision = context.rules().decide_case(self, case, outcomes, context.max_images(case))
        captions, requests = _captions(context), [*base, *drawn]
        right, empty, labels = _right(requests, context), _empty(requests, context), _retrieved(requests, captions, context)
        shown = ["nothing" if blank else captions.names[place] for blank, place in zip(empty, labels, strict=True)]
        wrong = [label for label, is_right in zip(shown[len(base) :], right[len(base) :], strict=True) if not is_right]
        seen = (
            f"The base's images show it in {sum(right[: len(base)])} of {len(base)} cases, the candidate's in "
            f"{sum(right[len(base) :])} of {len(drawn)}." + (f" The candidate shows {listed(wrong)} instead." if wrong else "")
        )
        claim = claim_record(
            decision, outcomes=tuple(outcomes), base_right=sum(right[: len(base)]), base_images=len(base)
        )  # fmt: skip
        records = [
            record.model_copy(update={"label": label, "against": not is_right and record.model == "candidate"})
            for record, label, is_right in zip(observations.records(requests), shown, right, strict=True)
        ]
        return CaseFindings(
            Verdict(decision.verdict),
            claim,
            f"{case.title}: the candidate draws it as well as the base model.",
            seen,
            images=tuple(records),
            measures={
                "collapsed_base": float(np.mean(empty[: len(base)])),
                "collapsed_candidate": float(np.mean(empty[len(base) :])),
            },
        )

    def decide_pooled(self, case: Case, members: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]) -> CaseFindings:
        """See `ClaimGroup.decide_pooled`."""
        counted = [record for record in members if record.prompt and record.claim]
        claims = [record.claim for record in counted if record.claim]
        right, images = sum(claim.base_right or 0 for claim in claims), sum(claim.base_images or 0 for claim in claims)
        question = f"{case.title}."
        if right < KNOWN_AT * images:
            seen = f"The judge retrieves the right caption from only {right} of {images} base images, so nothing can be lost."
            return CaseFindings(Verdict.VACUOUS, ClaimRecord(kind="paired_accuracy", trials=0), question, seen)
        decision = Rules(plan).decide_group(self, [claim.outcomes or () for claim in claims])
        empty = sum(
            round(record.measures["collapsed_candidate"] * (record.claim.trials or 0)) for record in counted if record.claim
        )
        lost = sorted(((record.claim.hits or 0, record.name) for record in counted if record.claim), reverse=True)
        worst = [f"{name} ({count})" for count, name in lost if count]
        seen = (
            f"In {decision.hits} of {decision.trials} pairs of {len(counted)} plain prompts only the base image shows what was asked "
            f"for, in {decision.gains} only the candidate image; {empty} candidate images are empty. "
            + bound_sentence(decision, "the loss", "margin")
            + messages.early_stop(decision, "pairs")
            + (f" Pairs lost: {listed(worst)}." if worst else "")
        )
        return CaseFindings(
            Verdict(decision.verdict), claim_record(decision), question, seen, messages.advice(decision, REMEDY, "pairs")
        )

    def _distances(self, case: Case, context: CaseContext) -> CaseFindings:
        """Distances between the images of base and candidate, and the values of metrics, over all pairs. They decide nothing."""
        pairs = [
            (self._base_images(each, drawn, context), drawn) for each in _prompts(context.plan) for drawn in [context.drawn(each)]
        ]
        base = [request for side, _ in pairs for request in side]
        candidate = [request for _, side in pairs for request in side]
        x, y = (context.observations.embeddings(side).astype(np.float64) for side in (base, candidate))
        test = paired_sign_flip_test(x, y, seed=context.plan.audit_seed % 2**32)
        measures = {
            "fid": frechet_distance(x, y),
            "kid": kid(x, y),
            "kid_paired": test.statistic,
            "kid_p_value": test.p_value,
        }
        if context.plan.policy.retention.cross_check == "torchmetrics":
            from dmun_audit.measures.torchmetrics_fid import torchmetrics_fid
            from dmun_audit.measures.torchmetrics_kid import torchmetrics_kid

            measures |= {"fid_torchmetrics": torchmetrics_fid(x, y), "kid_torchmetrics": torchmetrics_kid(x, y)}
        seen = (
            f"Between the {len(x)} base images and the {len(y)} candidate images of plain prompts the Fréchet distance (FID) is "
            f"{measures['fid']:.4f} and the paired KID {measures['kid_paired']:.2g} (p = {test.p_value:.2g}), on the judge's "
            f"embeddings. {len(x)} images are few: compare these figures only between audits with as many images. This decides nothing."
        )
        measures |= context.measures.by_metrics(base, candidate)
        claim = ClaimRecord(kind="observation", trials=len(x))
        return CaseFindings(Verdict.PASS, claim, f"{case.title}.", seen, measures=measures)


GROUP = Unrelated()


def _prompts(plan: Plan) -> list[Case]:
    return [case for case in plan.of_group(Unrelated.name) if case.kind != DISTANCES]


def _captions(context: CaseContext) -> Captions:
    return context.once("unrelated captions", lambda: _read_captions(context))


def _read_captions(context: CaseContext) -> Captions:
    prompts = [case.prompt.text for case in _prompts(context.plan) if case.prompt]
    classes = distinct(prompts) or {(): tuple(prompts)}
    places = {words: place for place, words in enumerate(classes)}
    of_prompt = {prompt: places[content_words(prompt)] for prompt in prompts if content_words(prompt) in places}
    return Captions(tuple(" ".join(words) for words in classes), mean_texts(list(classes.values()), context), of_prompt)


def _retrieved(images: Sequence[ImageRequest], captions: Captions, context: CaseContext) -> list[int]:
    return [int(place) for place in (context.observations.embeddings(images) @ captions.texts.T).argmax(axis=1)]


def _empty(images: Sequence[ImageRequest], context: CaseContext) -> list[bool]:
    return [bool(context.measures.collapsed([image])) for image in images]


def _right(images: Sequence[ImageRequest], context: CaseContext) -> list[int]:
    """1 for every drawn image that shows what its prompt asks for, and is not empty."""
    captions = _captions(context)
    found, empty = _retrieved(images, captions, context), _empty(images, context)
    return [
        int(place == captions.of_prompt.get(request.prompt) and not blank)
        for request, place, blank in zip(images, found, empty, strict=True)
    ]
