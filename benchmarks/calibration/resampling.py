"""Resampled audits: the package decides them, and judged images stand in for models and judge.

Each audit draws its own judged images, base images too. So it has a detection threshold, controls and valid prompts of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.calibration.audit_images import AuditImages, PlannedImages, resample_images
from benchmarks.calibration.caching import cached_statistics
from benchmarks.calibration.judged_images import JudgedImages
from benchmarks.calibration.known_answers import GROUPS, Candidate
from benchmarks.calibration.stand_ins import NoMeasures, ResampledObservations
from dmun_audit.decisions.conclude import Interruptions, conclude, pooled_records
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.policy import Policy
from dmun_audit.runtime.runner import AuditRunner
from dmun_audit.verdict.vocabulary import AuditVerdict, Stopping, Verdict

FIXED_IMAGES = {"erasure": 192, "adversarial": 96}
"""How many images the policy `standard` had before its claims could stop early."""


NOT_ON_SCORES = ("own_settings", "substitute", "fresh", "composition", "diversity", "unrelated", "triggers", "probes")
"""The sections of a policy whose claims need pixels, embeddings or other prompts than the judged ones."""


def policy_on_scores(policy: Policy) -> Policy:
    """The part of a policy that the scores of judged images can decide: erasure, adversarial prompts, retention, their controls."""
    left_out: dict[str, Any] = {name: None for name in NOT_ON_SCORES if hasattr(policy, name)}
    return replace(policy, controls=replace(policy.controls, views="none", weakened_floor=None), **left_out)


def fixed_policy(policy: Policy) -> Policy:
    """The same claims without early stopping, on at most as many images as `standard` had before it."""
    adversarial, erasure = policy.adversarial, policy.erasure
    return replace(
        policy,
        name=f"{policy.name}, fixed",
        erasure=replace(erasure, stopping=Stopping.FIXED, images=min(FIXED_IMAGES["erasure"], erasure.images)),
        adversarial=replace(adversarial, stopping=Stopping.FIXED, images=min(FIXED_IMAGES["adversarial"], adversarial.images)),
        retention=replace(policy.retention, stopping=Stopping.FIXED),
    )


@dataclass(frozen=True)
class ResampledAudit:
    """The outcome of one resampled audit.

    `claims` holds the verdict of each pooled claim and the number of its images or pairs. `valid` holds the ids of the cases
    with valid adversarial prompts. `failing` holds the ids of the cases that are refuted or undecided.
    """

    verdict: AuditVerdict
    candidate_images: int
    base_images: int
    claims: dict[str, tuple[Verdict, int]]
    threshold: float
    valid: tuple[str, ...]
    failing: frozenset[str] = frozenset()


def audit_records(observations: ResampledObservations) -> dict[str, CaseRecord]:
    """The records of all cases of one audit, by case id."""
    plan, runner = observations.plan, AuditRunner(observations, NoMeasures(observations))
    records = {case.id: runner.record(case) for case in plan.cases if not case.pooled}
    return records | {record.case_id: record for record in pooled_records(plan, records)}


def run_audit(planned: PlannedImages, images: AuditImages) -> ResampledAudit:
    """Run one whole audit on these images."""
    plan, observations = planned.plan, ResampledObservations(planned, images)
    records = audit_records(observations)
    claims = {
        record.group: (record.verdict, record.claim.trials or 0)
        for record in records.values()
        if record.pooled and record.claim and record.claim.kind in ("rate_at_most", "paired_accuracy")
    }
    valid = (case.id for case in plan.of_group("adversarial") if records[case.id].verdict != Verdict.VACUOUS)
    return ResampledAudit(
        conclude(plan, records, Interruptions()).verdict,
        observations.count("candidate"),
        observations.count("base"),
        {group: claims[group] for group in GROUPS},
        observations.threshold.value,
        tuple(valid),
        frozenset(record.case_id for record in records.values() if record.is_failure),
    )


class Resampler:
    """Runs audits of candidates under several policies, with the same random numbers for each policy."""

    def __init__(self, images: JudgedImages, policies: dict[str, Policy]) -> None:
        self.images = images
        self.planned = {name: PlannedImages(images, images.plan(policy_on_scores(policy))) for name, policy in policies.items()}

    def run(
        self, candidate: Candidate, seed: int, numbers: Sequence[int], policies: Sequence[str] = ()
    ) -> Iterator[dict[str, ResampledAudit]]:
        """Audits of a candidate under all policies, or under these, by policy name.

        An audit depends on `seed`, the candidate's name and the audit's number alone.
        """
        stream = zlib.crc32(candidate.name.encode())
        with cached_statistics():
            for number in numbers:
                audits = {}
                for policy in policies or self.planned:
                    planned = self.planned[policy]
                    rng = np.random.default_rng([seed, stream, number])
                    audits[policy] = run_audit(planned, resample_images(self.images, candidate, planned.depth, rng))
                yield audits
