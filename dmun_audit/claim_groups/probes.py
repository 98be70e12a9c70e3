"""Probes: attacks by somebody who has the candidate's weights. The claim: the target is not back more often than on the control.

The control is a model that never knew the target, under the same probe. Where none is known, the candidate is its own control: it is
probed for a made-up name, or with random tokens, with as many images. A probe that teaches the target to any model has no such
control, and is then only reported. Each probe is also tried on the base, where it must bring the target back.
"""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.probe_decision import attack_rates, counts_in_verdict, curves_of, decide, verdict_of
from dmun_audit.claim_groups.probe_planning import PROBES, cost_of, effort_for, probes_of
from dmun_audit.claim_groups.probe_sentences import asked_of, remedy_of, seen_of
from dmun_audit.claim_groups.probe_trial import Trial
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord, ProbeRecord
from dmun_audit.knowledge.plain_prompts import far_prompts
from dmun_audit.plan.case import Case, case_id
from dmun_audit.plan.plan import Plan
from dmun_audit.probes.probe import Probe
from dmun_audit.probes.registry import probe_named
from dmun_audit.verdict.sequential import SequentialClaim
from dmun_audit.verdict.vocabulary import Burden, Verdict


class Probes(ClaimGroup):
    """One case for each probe that the policy runs."""

    name = PROBES
    fault = "gives the target back to somebody who has the weights"
    order = 45
    fixture = "probe"
    outcome = "paired"
    unit = "units"
    required = False
    heading = "With the weights in hand"
    introduction = (
        "Whoever downloads a model can do more than write prompts. Each case is one attack by somebody who has the weights. It counts "
        "how much more often the candidate shows the target than a control does."
    )
    subject = "attacks with the weights in hand"

    # Planning.

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`; none if the policy has no section on probes. Raises UsageError for an unknown probe."""
        figures, target = material.policy.probes, material.dossier.target.name
        if figures is None:
            return []
        cases = []
        for probe in probes_of(figures, material.policy.name):
            far_prompts(material.dossier, probe.unrelated(effort_for(figures, material.dossier)))  # there are as many
            title = f"{probe.title} does not bring {target} back"
            cases.append(Case(case_id(self.name, title), self.name, probe.name, title, gating=figures.gating))
        return cases

    def later_images(self, plan: Plan) -> int:
        """See `ClaimGroup.later_images`: all units on candidate, control and base, at all doses, and examples."""
        figures = plan.policy.probes
        if figures is None:
            return 0
        return sum(cost_of(probe, plan).images for probe in self._probes(plan))

    def is_required(self, case: Case, plan: Plan) -> bool:
        """See `ClaimGroup.is_required`: probes that count are."""
        return case.gating

    def _probes(self, plan: Plan) -> list[Probe]:
        return [probe_named(case.kind) for case in plan.of_group(self.name)]

    # Deciding.

    def decide_case(self, case: Case, context: CaseContext) -> CaseFindings:
        """See `ClaimGroup.decide_case`."""
        probe, plan, observations = probe_named(case.kind), context.plan, context.observations
        bench = observations.bench
        if bench is None:
            refusal = "The images are rendered on other machines, which run no probes: audit with --engine=local."
        elif missing := probe.missing_packages():
            refusal = f"{', '.join(missing)} is not installed: pip install 'dmun_audit[probes]'."
        else:
            refusal = bench.refusal(probe)
        if refusal:
            record = ProbeRecord(name=probe.name, explanation=probe.explanation, source=probe.source, refusal=refusal)
            claim = ClaimRecord(kind="observation", trials=0)
            more = {"probe": record, "gating": False}
            return CaseFindings(Verdict.NOT_APPLICABLE, claim, asked_of(probe, record), refusal, more=more)
        assert bench is not None
        trial = Trial(probe, context, bench)
        trial.run()
        return self._findings(case, probe, trial, plan)

    def _findings(self, case: Case, probe: Probe, trial: Trial, plan: Plan) -> CaseFindings:
        record = trial.record()
        decision, rates = decide(record, plan), attack_rates(record)
        verdict = verdict_of(record, plan, gating=case.gating)
        record = record.with_(came_back=decision is not None and decision.verdict == Verdict.FAIL)
        claim = decision.claim if decision else _observed(record)
        more: dict[str, object] = {"probe": record, "gating": counts_in_verdict(record, gating=case.gating)}
        measures = {}
        if rates:
            named = {"pre_asr": rates.before, "post_asr": rates.gained, "asr": rates.overall}
            measures = {name: each.hits / each.units for name, each in named.items()}
        return CaseFindings(
            verdict,
            claim,
            asked_of(probe, record),
            seen_of(probe, record, decision, plan.dossier.target.name, verdict),
            remedy_of(probe, record, verdict),
            images=trial.plain_records(),
            measures=measures,
            more=more,
        )

    def shortfalls(self, plan: Plan) -> list[str]:
        """See `ClaimGroup.shortfalls`: too few units for a proof."""
        figures = plan.policy.probes
        if figures is None or not figures.gating or figures.burden == Burden.PROVE_HARM:
            return []
        needed = SequentialClaim("paired", figures.margin, figures.margin, plan.policy.alpha, plan.alpha_fail).clean_images()
        if needed <= figures.units:
            return []
        return [
            f"No probe can be proven harmless: probes.units is {figures.units}, and {needed} units without a difference prove it."
        ]

    def tried(self, records: Sequence[CaseRecord]) -> str:
        """See `ClaimGroup.tried`."""
        run = [record for record in records if record.probe and record.probe.was_tried]
        if not run:
            return ""
        back = sum(record.probe.came_back for record in run if record.probe)
        attacks = f"{messages.counted(len(run), 'attack')} with the weights in hand"
        return f"{attacks} ({back or 'none'} of them brought the target back beyond chance)"


GROUP = Probes()


def _observed(record: ProbeRecord) -> ClaimRecord:
    """The claim of a probe that has no control: what the candidate showed at its worst dose."""
    curves = [curve for curve in curves_of(record) if curve.candidate]
    if not curves:
        return ClaimRecord(kind="observation", trials=0)
    worst = max(curves, key=lambda curve: sum(curve.candidate) / len(curve.candidate))
    hits, trials = sum(worst.candidate), len(worst.candidate)
    return ClaimRecord(kind="observation", hits=hits, trials=trials, estimate=hits / trials)
