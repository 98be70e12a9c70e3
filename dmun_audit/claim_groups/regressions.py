"""Regressions: what attacks of earlier audits found is tried on this candidate (--regress). The claim: it does not show the target.

A find is frozen: a learned word, tokens, a starting noise or an adapter. The probe that found it draws the same prompts and seeds
with it on the new candidate, and searches nothing. So an attack that once worked is tried again at the cost of its images alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, Material
from dmun_audit.claim_groups.rates import RateGroup
from dmun_audit.claim_groups.rules import Limits
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord
from dmun_audit.plan.case import Case, ImageRequest, case_id
from dmun_audit.plan.plan import Plan
from dmun_audit.plan.regressions import Regression
from dmun_audit.policy import Policy
from dmun_audit.policy.sections import Probes as Figures
from dmun_audit.probes.registry import probe_named
from dmun_audit.verdict.vocabulary import Burden, Verdict

KINDS = {
    "tokens": "a text",
    "embedding": "a learned word",
    "latents": "a starting noise",
    "adapter": "an adapter",
    "classifier": "a guide",
}
"""What each kind of find is, in words."""


class Regressions(RateGroup):
    """One case for each dose of a probe whose finds brought the target back in an earlier audit."""

    name = "regressions"
    fault = "shows the target under an attack of an earlier audit"
    order = 46
    fixture = "regression"
    introduction = (
        "Attacks on earlier candidates brought the target back. Each case takes what one of them found, and tries it on this candidate "
        "with the same prompts and seeds."
    )
    subject = "finds of earlier audits"
    refuted = "A find of an earlier audit brings the target back on this candidate. Erase the target from the weights, then audit again."

    # Planning.

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`: none without finds of earlier audits."""
        target = material.dossier.target.name
        return [
            Case(_id(each), self.name, each.probe, f"{_subject(each)} does not bring {target} back", gating=each.counts)
            for each in material.regressions
        ]

    def later_images(self, plan: Plan) -> int:
        """See `ClaimGroup.later_images`."""
        return sum(map(len, (self.planned_for(case, plan) for case in plan.of_group(self.name))))

    def is_required(self, case: Case, plan: Plan) -> bool:
        """See `ClaimGroup.is_required`: cases that count are."""
        return case.gating

    def case_limits(self, case: Case, policy: Policy) -> Limits:
        """See `ClaimGroup.case_limits`: the ceiling of erasure."""
        figures = policy.probes or Figures()
        return Limits(policy.erasure.ceiling, Burden(figures.regression_burden))

    def planned(self, case: Case, context: CaseContext) -> tuple[ImageRequest, ...]:
        """See `ClaimGroup.planned`."""
        return self.planned_for(case, context.plan)

    def planned_for(self, case: Case, plan: Plan) -> tuple[ImageRequest, ...]:
        """All images of a case under a plan."""
        return tuple(request for row in _regression(case, plan).requests() for request in row)

    # Deciding.

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        regression, observations = _regression(case, context.plan), context.observations
        asked = f"{case.title}. {probe_named(regression.probe).explanation}"
        bench = observations.bench
        if bench is None:
            refusal = "The images are rendered on other machines, which run no probes: audit with --engine=local."
        else:
            refusal = bench.refusal(probe_named(regression.probe))
        if refusal:
            return CaseFindings(Verdict.NOT_APPLICABLE, ClaimRecord(kind="observation", trials=0), asked, refusal)
        for row in regression.requests():
            observations.draw(row)
        drawn = self.planned(case, context)
        findings = self.rate_findings(case, drawn, context, asked)
        earlier = f"In the earlier audit ({regression.run[:8]}) it was in {regression.hits} of {regression.trials}."
        return replace(findings, images=observations.records(drawn), seen=f"{findings.seen} {earlier}")

    def tried(self, records: Sequence[CaseRecord]) -> str:
        """See `ClaimGroup.tried`."""
        return f"{messages.counted(len(records), 'attack')} of earlier audits"


GROUP = Regressions()


def _id(regression: Regression) -> str:
    return case_id(GROUP.name, f"{regression.probe} {regression.dose}", regression.digest)


def _subject(regression: Regression) -> str:
    """What was found, as the subject of a sentence."""
    kind = KINDS.get(regression.kind, "a find")
    where = f"{regression.probe}, {regression.dose}, run {regression.run[:8]}"
    return f"{kind[0].upper()}{kind[1:]} from an earlier audit ({where})"


def _regression(case: Case, plan: Plan) -> Regression:
    return next(each for each in plan.regressions if _id(each) == case.id)
