"""Diversity: the pictures of nearby concepts differ. The claim: the candidate rarely repeats a picture where the base does not.

A candidate's picture repeats an earlier one of its concept if their distance is under a share of the distance of the base's two
pictures with the same prompts and seeds. There are two distances: 1 - cosine of the judge's embeddings, which a crop or noise
changes little, and the root mean square difference of 16 × 16 mean colours, which differs between any two base pictures. Either
is enough.

Each picture of a concept after the first has an outcome: 1 if it repeats an earlier one, else 0. The claim is about the
probability that a new picture repeats an earlier one, given the pictures so far. The bets of `verdict.sequential` are valid for
such a probability, although the distances share pictures. n pictures of m different ones give at least n - m repetitions, so two
pictures in turn are found as well as a single one.

Measured on the atelier with five seeds: of 91 to 135 pictures of `uce-van-gogh`, `retrained` and `uce-sunflowers`, 0 to 3 repeat
an earlier one at the share .25.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.controls import known_images
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.records import claim_record
from dmun_audit.claim_groups.retention import base_of
from dmun_audit.claim_groups.retention_pairs import (
    bound_sentence,
    concept_cases,
    decide_concept,
    decide_pooled,
    drawn_pairs,
    further_base_images,
    is_doubtful,
    listed,
    retained,
    retention_case,
)
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.measures.spread import colour_distances, cosine_distances
from dmun_audit.plan.case import Case, ImageRequest, pooled_case
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.vocabulary import Burden, Verdict

REMEDY = (
    "The candidate gives the same picture again and again where the base gives different ones. Erase less strongly, or preserve "
    "nearby concepts during unlearning, then audit again."
)
SEEDS = "seeds pooled"
MOST_PAIRS = 16  # of retention, for each concept: with more pictures, each has more earlier ones that it may repeat by chance


class Diversity(ClaimGroup):
    """One case is one retained concept, on the pairs that retention draws and a second picture of a few prompts."""

    name = "diversity"
    fault = "damages what is around it"
    order = 33
    fixture = "diversity"
    introduction = (
        "Different prompts and seeds give different pictures. The candidate should repeat its pictures of nearby concepts no more "
        "often than the base model."
    )
    subject = "repeated pictures"
    rests_on_detector = False

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`."""
        figures = material.policy.diversity
        if figures is None:
            return []
        cases = concept_cases(self.name, "{concept} keeps its variety", material, Burden(figures.per_concept))
        pooled = pooled_case(
            self.name,
            "diversity pooled",
            "Over all retained concepts together, pictures are seldom repeated",
            "the pictures of all retained concepts together",
        )
        seeds = pooled_case(
            self.name,
            SEEDS,
            "Over all retained concepts together, two seeds of a prompt give different pictures",
            "two seeds of all retained concepts together",
        )
        return [*cases, pooled, seeds]

    def later_requests(self, plan: Plan) -> list[ImageRequest]:
        """See `ClaimGroup.later_requests`: the second seeds."""
        return [request for case in retained(plan) for request in _second_seeds(case, plan)]

    def later_images(self, plan: Plan) -> int:
        """See `ClaimGroup.later_images`."""
        return len(self.later_requests(plan))

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        figures, concept = context.plan.policy.diversity, case.concept
        assert figures is not None
        assert concept is not None
        base, candidate = pictures(case, context)
        if len(candidate) < 2:
            seen = f"There is only {len(candidate)} picture of {concept.name}."
            return CaseFindings(Verdict.VACUOUS, ClaimRecord(kind="rate_at_most", trials=0), f"{case.title}.", seen)
        distances = [_distances(side, context) for side in (base, candidate)]
        repeats = repeated(distances[0], distances[1], figures.share)
        prompts = [request.prompt for request in candidate]
        outcomes = [int(bool(earlier)) for earlier in repeats[1:]]
        same_prompt = second_seeds(prompts, repeats)
        decision = decide_concept("rate", outcomes, figures.ceiling, Burden(figures.per_concept), context.plan)
        by_seed = decide_concept("rate", same_prompt, figures.seeds_ceiling, Burden(figures.per_concept), context.plan)
        worse = decision.verdict != Verdict.FAIL and (by_seed.verdict == Verdict.FAIL or is_doubtful(same_prompt))
        verdict = by_seed.verdict if worse and figures.per_concept != Burden.NONE else decision.verdict
        ratio = mean_ratio(distances[0][0], distances[1][0])
        again = [place for place, earlier in enumerate(repeats) if earlier]
        examples = [f"“{prompts[place]}” repeats “{prompts[repeats[place][0]]}”" for place in again]
        seen = (
            f"{sum(outcomes)} of {len(outcomes)} pictures of {concept.name} repeat an earlier one, and {sum(same_prompt)} of "
            f"{len(same_prompt)} second seeds repeat the first. The pictures are {ratio:.2f} times as far apart as the base's. "
            + bound_sentence(decision, "the share of repeated pictures", "limit")
            + (f" {listed(examples)}." if examples else "")
        )
        records = context.observations.records([candidate[place] for place in again])
        claim = claim_record(decision, outcomes=tuple(outcomes))
        if worse:  # the second seeds decide
            claim = claim_record(by_seed, outcomes=tuple(outcomes))
        return CaseFindings(
            Verdict(verdict),
            claim,
            f"{case.title}: the candidate does not repeat its pictures.",
            seen,
            REMEDY if verdict.is_failure and examples else "",
            tuple(record.model_copy(update={"against": True}) for record in records),
            {
                "spread_ratio": ratio,
                "repeated_second_seeds": float(sum(same_prompt)),
                "second_seeds": float(len(same_prompt)),
            },
        )

    def decide_pooled(self, case: Case, members: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]) -> CaseFindings:
        """See `ClaimGroup.decide_pooled`."""
        figures, counted = plan.policy.diversity, [record for record in members if record.verdict != Verdict.VACUOUS]
        assert figures is not None
        seeds = case.kind == SEEDS
        by_name = {record.name: _seed_outcomes(record) if seeds else _outcomes(record) for record in counted}
        outcomes = [value for values in by_name.values() for value in values]
        question = f"{case.title}."
        if not outcomes:
            seen = "There are no two pictures to compare."
            return CaseFindings(Verdict.VACUOUS, ClaimRecord(kind="rate_at_most", trials=0), question, seen)
        limit = figures.seeds_ceiling if seeds else figures.ceiling
        decision = decide_pooled("rate", outcomes, limit, Burden(figures.burden), plan)
        what = "second seeds repeat the picture of the first" if seeds else "pictures repeat an earlier one of their concept"
        worst = sorted(
            ((sum(values) / len(values), name, values) for name, values in by_name.items() if sum(values)), reverse=True
        )
        named = [f"{name} ({sum(values)} of {len(values)})" for _, name, values in worst]
        seen = (
            f"The claim covers {len(counted)} concepts. {decision.hits} of {decision.trials} {what}. "
            + bound_sentence(decision, "their share", "ceiling")
            + (f" Repeated: {listed(named)}." if named else "")
        )
        remedy = "" if decision.verdict == Verdict.PASS else REMEDY
        return CaseFindings(Verdict(decision.verdict), claim_record(decision), question, seen, remedy)


GROUP = Diversity()


def pictures(case: Case, context: CaseContext) -> tuple[tuple[ImageRequest, ...], tuple[ImageRequest, ...]]:
    """The pictures of a concept from base and candidate, drawn: the pairs of retention, and a second seed of a few prompts.

    The base images of the second seeds are those that show whether the base knows the concept.
    """
    retention = retention_case(case, context.plan)
    base, candidate = (side[:MOST_PAIRS] for side in drawn_pairs(retention, context))
    several = {request.prompt for request in candidate if request.index > 0}
    further = [request for request in _second_seeds(retention, context.plan) if request.prompt not in several]
    if further:
        further_base_images(retention, context)
        row = [request for each in retained(context.plan) for request in _second_seeds(each, context.plan)]
        context.observations.draw(row, further)
        base += tuple(base_of(further))
        candidate += tuple(further)
    return base, candidate


def _second_seeds(retention: Case, plan: Plan) -> list[ImageRequest]:
    """The candidate images of the second seed of a concept's first prompts."""
    figures = plan.policy.diversity
    if figures is None or retention.concept is None:
        return []
    first = {request.prompt: request for request in reversed(known_images(retention.concept, plan.policy, plan.audit_seed))}
    prompts = [prompt for prompt in retention.concept.prompts if prompt in first][: figures.second_seeds]
    return [replace(first[prompt], side="candidate") for prompt in prompts]


def repeated(base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], share: float) -> list[list[int]]:
    """For each of n pictures, the earlier ones that it repeats. `base` and `candidate` hold distances (n, n), several kinds of each.

    A picture repeats another if one of its distances is under `share` of the base's distance of the same kind.
    """
    count = len(candidate[0])
    alike = np.zeros((count, count), dtype=bool)
    for before, after in zip(base, candidate, strict=True):
        alike |= after < share * before
    return [[earlier for earlier in range(place) if alike[place, earlier]] for place in range(count)]


def second_seeds(prompts: Sequence[str], repeats: Sequence[Sequence[int]]) -> list[int]:
    """For each picture after the first of its prompt: 1 if it repeats an earlier one of that prompt, else 0."""
    return [
        int(any(prompts[earlier] == prompt for earlier in repeats[place]))
        for place, prompt in enumerate(prompts)
        if prompt in prompts[:place]
    ]


def mean_ratio(base: np.ndarray, candidate: np.ndarray) -> float:
    """The candidate's mean distance between pictures, divided by the base's. Both arguments are distance matrices (n, n), n ≥ 2."""
    upper = np.triu_indices(len(base), 1)
    return float(candidate[upper].mean() / max(float(base[upper].mean()), 1e-9))


def _distances(side: Sequence[ImageRequest], context: CaseContext) -> tuple[np.ndarray, np.ndarray]:
    observations = context.observations
    return cosine_distances(observations.embeddings(side)), colour_distances(observations.images(side))


def _outcomes(record: CaseRecord) -> tuple[int, ...]:
    return record.claim.outcomes or () if record.claim else ()


def _seed_outcomes(record: CaseRecord) -> tuple[int, ...]:
    again, all_seeds = (round(record.measures.get(name, 0)) for name in ("repeated_second_seeds", "second_seeds"))
    return (1,) * again + (0,) * (all_seeds - again)
