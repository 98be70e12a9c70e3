"""Retention: concepts near the target. The claim: with the same seeds, the candidate draws them as well as the base model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.context import CaseContext, JudgeOutcomes
from dmun_audit.claim_groups.controls import known_images
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.records import claim_record, with_highest_rates
from dmun_audit.claim_groups.rules import Limits, Outcomes, Rules
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.knowledge.dossier import NearbyConcept
from dmun_audit.plan.case import Case, ImageRequest, Side, by_rounds, case_id, pooled_case, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy
from dmun_audit.verdict.claims import apply_burden
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.paired import accuracy_loss_at_most, mean_difference_at_most
from dmun_audit.verdict.paired_score import score_loss_at_most
from dmun_audit.verdict.vocabulary import Burden, Stopping, Verdict

KNOWN_AT = 0.5
"""The base model knows a concept if the judge recognises at least this share of its images."""


class Retention(ClaimGroup):
    """One case is one nearby concept, on same-seed pairs of base and candidate."""

    name = "retention"
    fault = "damages what is around it"
    order = 30
    fixture = "nearby"
    draws_in_rounds = True
    introduction = (
        "These concepts are similar to the target. With the same prompts and seeds, the candidate should draw them as well as the "
        "base model."
    )
    subject = "nearby concepts"
    outcome = "paired"
    unit = "pairs"

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`."""
        figures, seed = material.policy.retention, material.audit_seed
        if not any(concept.role == "retain" for concept in material.nearby):
            raise UsageError(f"the dossier of {material.dossier.target.name!r} has no nearby concept to retain", "", "add one")
        cases = [
            Case(
                case_id(self.name, concept.name, list(concept.prompts)),
                self.name,
                "retention",
                f"{concept.name} is {'retained' if concept.role == 'retain' else 'observed'}",
                gating=concept.role == "retain" and figures.per_concept != Burden.NONE,
                images=(
                    *pair_images("base", concept, figures.pairs, seed),
                    *known_images(concept, material.policy, seed),
                    *pair_images("candidate", concept, figures.pairs, seed),
                ),
                concept=concept,
            )
            for concept in material.nearby
        ]
        accuracy = pooled_case(
            self.name,
            "retention pooled",
            "Over all retained concepts together, accuracy is kept",
            "all retained concepts together",
        )
        if figures.score_margin is None:
            return [*cases, accuracy]
        scores = pooled_case(
            self.name,
            "score pooled",
            "Over all retained concepts together, the CLIP score is kept",
            "clip scores of all retained concepts together",
        )
        return [*cases, accuracy, scores]

    def shortfalls(self, plan: Plan) -> list[str]:
        """See `ClaimGroup.shortfalls`."""
        figures = plan.policy.retention
        sentences = messages.too_few_in_dossier(plan.policy.name, figures.concepts, len(plan.nearby), "nearby concepts")
        if tied := _tied_at_the_cut(plan):
            sentences.append(
                f"Similarity does not decide which of {len(tied)} nearby concepts are tested: all have the similarity "
                f"{tied[0].similarity:g}, and the first by name are taken."
            )
        cycle = self.cycle(plan)
        if Rules(plan).stops_early(self) and cycle > figures.pairs:
            counts = ", ".join(map(str, sorted({len(concept.prompts) for concept in plan.nearby})))
            sentences.append(
                f"The claim on nearby concepts cannot stop early: the concepts have {counts} prompts, and all prompts are used "
                f"equally often only after {cycle} pairs of each concept. Give all concepts the same number of prompts."
            )
        if figures.rule == "score":
            sentences.append(messages.SCORE_TEST_NOT_EXACT)
        return sentences

    # Limits and rounds.

    def limits(self, policy: Policy) -> Limits:
        """See `ClaimGroup.limits`."""
        figures = policy.retention
        worst = figures.worst_concept if figures.per_concept == Burden.PROVE_HARM else None
        return Limits(
            figures.margin,
            Burden(figures.burden),
            Stopping(figures.stopping),
            figures.first_look,
            worst=worst,
            alone=figures.concept_pairs,
            further=figures.further_pairs,
        )

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """See `ClaimGroup.case_limits`: an observed concept need not be proven safe."""
        figures = policy.retention
        observed = case.concept is not None and case.concept.role == "observe"
        proven = figures.per_concept == Burden.PROVE_SAFE and not observed
        burden = Burden.PROVE_SAFE if proven else Burden.PROVE_HARM
        return replace(self.limits(policy), limit=figures.per_concept_margin or figures.margin, burden=burden)

    def rounds(self, plan: Plan, members: int) -> int:
        """See `ClaimGroup.rounds`: whole cycles, if the policy allows one."""
        cycle, pairs = self.cycle(plan), plan.policy.retention.pairs
        return pairs // cycle * cycle or pairs

    def cycle(self, plan: Plan) -> int:
        """See `ClaimGroup.cycle`."""
        return math.lcm(*(len(case.concept.prompts) for case in plan.of_group(self.name) if case.concept))

    def clean_outcomes(self, plan: Plan) -> list[list[int]]:
        """See `ClaimGroup.clean_outcomes`."""
        retained = [case for case in plan.of_group(self.name) if _is_retained(case)]
        each = self.rounds(plan, len(retained)) if Rules(plan).stops_early(self) else plan.policy.retention.pairs
        return [[0] * each for _ in retained]

    # Drawing.

    def counts(self, case: Case, context: CaseContext) -> bool:
        """See `ClaimGroup.counts`: a retained concept that the base model knows."""
        return _is_retained(case) and self._is_known(case, context)

    def rows(self, plan: Plan, side: Side) -> list[list[ImageRequest]]:
        """See `ClaimGroup.rows`: round by round if the claim may stop early, else concept by concept, for a concept that is run alone.

        The base images on which concepts must be known are in a row of their own.
        """
        cases, pairs = plan.of_group(self.name), plan.policy.retention.pairs
        rows = [[case.images_of(side)[:pairs] for case in cases]]
        rows += [[_known_images(case, plan) for case in cases]] if side == "base" else []
        if Rules(plan).stops_early(self):
            return [by_rounds(row) for row in rows]
        return [[request for of_case in row for request in of_case] for row in rows]

    def planned(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        """See `ClaimGroup.planned`: with the pairs of a concept that continues alone."""
        return self._planned(case, context.plan)

    def companions(self, images: Sequence[ImageRequest]) -> list[ImageRequest]:
        """See `ClaimGroup.companions`: the base images of the same prompts and seeds."""
        return base_of(images)

    def later_requests(self, plan: Plan) -> list[ImageRequest]:
        """See `ClaimGroup.later_requests`: the candidate images of concepts that continue alone."""
        pairs = plan.policy.retention.pairs
        return [request for case in plan.of_group(self.name) for request in self._planned(case, plan)[pairs:]]

    def later_images(self, plan: Plan) -> int:
        """See `ClaimGroup.later_images`: both images of each further pair."""
        return 2 * min(len(self.later_requests(plan)), plan.policy.retention.further_pairs or 0)

    def _planned(self, case: Case, plan: Plan) -> tuple[ImageRequest, ...]:
        figures = plan.policy.retention
        if figures.stopping != Stopping.EARLY or not figures.concept_pairs or not figures.further_pairs:
            return case.images_of("candidate")
        assert case.concept is not None
        most = max(figures.pairs, figures.concept_pairs)
        return pair_images("candidate", case.concept, most, plan.audit_seed)

    def outcomes(self, case: Case, images: Sequence[ImageRequest], context: CaseContext) -> JudgeOutcomes:
        """See `ClaimGroup.outcomes`: 1 for a pair that the candidate lost, -1 for a pair that it won, else 0."""
        base, candidate = _recognised(case, base_of(images), context), _recognised(case, images, context)
        return JudgeOutcomes([before - after for before, after in zip(base, candidate, strict=True)])

    def further_claims_decided(
        self, members: Sequence[Case], drawn: Sequence[Sequence[ImageRequest]], context: CaseContext
    ) -> bool:
        """See `ClaimGroup.further_claims_decided`: the claim on CLIP scores, if the policy has one."""
        if context.plan.policy.retention.score_margin is None:
            return True
        losses = [_score_losses_of(case, images, context) for case, images in zip(members, drawn, strict=True)]
        return self._decide_scores(context.plan, losses).verdict != Verdict.INCONCLUSIVE

    # Deciding.

    def fixed_decision(self, plan: Plan, outcomes: Sequence[Outcomes], limit: float) -> Decision:
        """See `ClaimGroup.fixed_decision`: the paired rule that the policy names."""
        rule = accuracy_loss_at_most if plan.policy.retention.rule == "bound" else score_loss_at_most
        return rule(*_counted_pairs(outcomes), limit, plan.policy.alpha, plan.alpha_fail)

    def fixed_case_decision(self, plan: Plan, outcomes: Outcomes, limit: float) -> Decision:
        """See `ClaimGroup.fixed_case_decision`: always by the exact bounds."""
        return accuracy_loss_at_most(*_counted_pairs([outcomes]), limit, plan.policy.alpha, plan.alpha_fail)

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        concept, drawn, observations = case.concept, context.drawn(case), context.observations
        assert concept is not None
        base = base_of(drawn)
        labels = [observations.labels(base, concept), observations.labels(drawn, concept)]
        right = ([label == concept.label for label in labels[0]], [label == concept.label for label in labels[1]])
        outcomes = self.outcomes(case, drawn, context).first
        decision = context.rules().decide_case(self, case, outcomes, context.max_images(case))
        known = self._recognised_on_base(case, context)
        records = observations.records([*base, *drawn])
        findings = CaseFindings(
            Verdict(decision.verdict),
            claim_record(decision, outcomes=tuple(outcomes), base_right=sum(known), base_images=len(known)),
            f"{case.title}: the candidate draws it as well as the base model.",
            messages.loss_sentence(decision),
            messages.advice(decision, messages.CONCEPT_DAMAGED, "pairs of this concept"),
            tuple(
                image.model_copy(update={"label": label}) for image, label in zip(records, [*labels[0], *labels[1]], strict=True)
            ),
            context.measures.of_pairs(base, drawn, right) | context.measures.similarity(concept, base),
        )
        if concept.role == "observe":
            claim = findings.claim.model_copy(update={"kind": "observation"})
            seen = f"{findings.seen} Observed only: this case decides nothing."
            return replace(findings, verdict=Verdict.PASS, claim=claim, seen=seen, remedy="")
        if not self._is_known(case, context):
            seen = (
                f"The judge recognises {concept.name} in only {sum(known)} of {len(known)} other base images: "
                "the base model does not know this concept."
            )
            return replace(findings, verdict=Verdict.VACUOUS, seen=seen, remedy="")
        return findings

    def tried(self, records: Sequence[CaseRecord]) -> str:
        """See `ClaimGroup.tried`: the concepts that the base model knows."""
        return messages.tried([record for record in records if record.verdict != Verdict.VACUOUS], "nearby concept", "pair")

    def decide_pooled(self, case: Case, members: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]) -> CaseFindings:
        """See `ClaimGroup.decide_pooled`."""
        counted = [record for record in members if _counts(record)]
        question, concepts = f"{case.title}.", f"The claim covers {len(counted)} concepts."
        if case.kind == "score pooled":
            decision = self._decide_scores(plan, [_score_losses(record) for record in counted])
            seen, remedy = messages.score_sentence(decision), messages.advice(decision, messages.CONCEPT_DAMAGED, "pairs")
            claim = claim_record(decision)
            return CaseFindings(Verdict(decision.verdict), claim, question, f"{concepts} {seen}", remedy)
        outcomes = [record.claim.outcomes or () for record in counted if record.claim]
        decision = Rules(plan).decide_group(self, outcomes)
        seen, remedy = messages.loss_sentence(decision), messages.advice(decision, messages.CONCEPT_DAMAGED, "pairs")
        claim = claim_record(decision)
        findings = CaseFindings(Verdict(decision.verdict), claim, question, f"{concepts} {seen}", remedy)
        return with_highest_rates(findings, counted, self.unit)

    def _decide_scores(self, plan: Plan, losses: Sequence[Sequence[float]]) -> Decision:
        """Decide the claim on CLIP scores from the losses of each concept's pairs. All concepts contribute equally many pairs.

        The bets are fixed in advance, so the decision is valid after any whole number of cycles.
        """
        policy, pairs, cycle = plan.policy, min(map(len, losses), default=0), self.cycle(plan)
        pairs = pairs // cycle * cycle or pairs
        margin = policy.retention.score_margin
        assert margin is not None
        differences = [loss for member in losses for loss in member[:pairs]]
        decision = mean_difference_at_most(differences, margin, policy.alpha, plan.alpha_fail)
        rules = Rules(plan)
        if rules.stops_early(self):
            rounds = self.rounds(plan, len(losses))
            looks = tuple(end * len(losses) for end in rules.schedule(self, rounds, upto=pairs))
            decision = replace(decision, stopping=Stopping.EARLY, planned=rounds * len(losses), looks=looks)
        return apply_burden(decision, policy.retention.burden)

    def _is_known(self, case: Case, context: CaseContext) -> bool:
        """Whether the judge recognises the concept in enough base images that are in no pair."""
        recognised = self._recognised_on_base(case, context)
        return sum(recognised) >= KNOWN_AT * len(recognised)

    def _recognised_on_base(self, case: Case, context: CaseContext) -> list[bool]:
        images = _known_images(case, context.plan)
        context.observations.draw_base_of_neighbours(images)
        return _recognised(case, images, context)


GROUP = Retention()


def _is_retained(case: Case) -> bool:
    return case.concept is not None and case.concept.role == "retain"


def _tied_at_the_cut(plan: Plan) -> list[NearbyConcept]:
    """The concepts that are as similar as the last tested one. Empty if all of them are tested: then similarity decides."""
    last = plan.nearby[-1].similarity
    tied = [concept for concept in plan.dossier.concepts if concept.role != "erase" and concept.similarity == last]
    return tied if any(concept not in plan.nearby for concept in tied) else []


def _counts(record: CaseRecord) -> bool:
    """Whether a record belongs to a retained concept that the base model knows."""
    return record.concept is not None and record.concept.role == "retain" and record.verdict != Verdict.VACUOUS


def pair_images(side: Side, concept: NearbyConcept, count: int, seed: int) -> tuple[ImageRequest, ...]:
    """The images of one side of the first `count` pairs of a concept, its prompts in turn."""
    return requests_for(side, concept.prompts, count, seed)


def base_of(images: Sequence[ImageRequest]) -> list[ImageRequest]:
    """The base images of the same prompts and seeds."""
    return [replace(image, side="base") for image in images]


def _known_images(case: Case, plan: Plan) -> tuple[ImageRequest, ...]:
    assert case.concept is not None
    return known_images(case.concept, plan.policy, plan.audit_seed)


def _recognised(case: Case, images: Sequence[ImageRequest], context: CaseContext) -> list[bool]:
    concept = case.concept
    assert concept is not None
    return [label == concept.label for label in context.observations.labels(images, concept)]


def _counted_pairs(outcomes: Sequence[Outcomes]) -> tuple[int, int, int]:
    """Losses, gains and pairs."""
    every = [value for member in outcomes for value in member]
    return every.count(1), every.count(-1), len(every)


def _score_losses_of(case: Case, images: Sequence[ImageRequest], context: CaseContext) -> list[float]:
    base = context.observations.clip_scores(base_of(images))
    candidate = context.observations.clip_scores(images)
    return [before - after for before, after in zip(base, candidate, strict=True)]


def _score_losses(record: CaseRecord) -> list[float]:
    """The loss of CLIP score of each pair of a record, in the order of the rounds."""
    scores = {(image.model, image.prompt, image.index): image.clip_score or 0.0 for image in record.images}
    pairs = [(prompt, index) for model, prompt, index in scores if model == "candidate"]
    return [scores["base", *pair] - scores["candidate", *pair] for pair in pairs]
