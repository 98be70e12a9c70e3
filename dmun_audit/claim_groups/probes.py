"""Probes: attacks by somebody who has the candidate's weights. The claim: the target is not back more often than on the control.

The control is a model that never knew the target, under the same probe. Where none is known, the candidate is its own control: it is
probed for a made-up name, or with random tokens, with as many images. A probe that teaches the target to any model has no such
control, and is then only reported. Each probe is also tried on the base, where it must bring the target back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup, Material
from dmun_audit.claim_groups.probe_decision import ProbeDecision, attack_rates, curves_of, decide, is_decided, works_on_base
from dmun_audit.claim_groups.probe_sentences import asked_of, remedy_of, seen_of
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord, DoseRecord, FindRecord, ImageRecord, ProbeImage, ProbeRecord
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.plain_prompts import far_prompts
from dmun_audit.plan.case import CONTROL_MODEL, Case, ImageRequest, Recipe, Side, case_id, requests_for
from dmun_audit.plan.plan import Plan
from dmun_audit.policy.sections import Probes as Figures
from dmun_audit.probes.probe import Attack, Dose, Effort, Probe
from dmun_audit.probes.registry import probe_named, probes
from dmun_audit.store.speeds import Speed
from dmun_audit.verdict.sequential import SequentialClaim
from dmun_audit.verdict.vocabulary import Burden, Verdict

CHEAP, ALL = "cheap", "all"
ARMS = ("candidate", "control", "base")


class Probes(ClaimGroup):
    """One case for each probe that the policy runs."""

    name = "probes"
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
    subject = "probes"

    # Planning.

    def cases(self, material: Material) -> list[Case]:
        """See `ClaimGroup.cases`; none if the policy has no section on probes. Raises UsageError for an unknown probe, and for a probe
        that counts and whose packages are not installed.
        """
        figures, target = material.policy.probes, material.dossier.target.name
        if figures is None:
            return []
        cases = []
        for probe in probes_of(figures, material.policy.name):
            _refuse_missing_packages(probe, figures)
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
        trial = Trial(probe, context)
        trial.run()
        return self._findings(case, probe, trial, plan)

    def _findings(self, case: Case, probe: Probe, trial: Trial, plan: Plan) -> CaseFindings:
        record = trial.record()
        decision, rates = decide(record, plan), attack_rates(record)
        verdict = self._verdict(case, record, decision, plan)
        came_back = decision is not None and decision.verdict == Verdict.FAIL
        record = record.with_(came_back=came_back)
        claim = decision.claim if decision else _observed(record)
        gating = case.gating and decision is not None
        more: dict[str, object] = {"probe": record, "gating": gating}
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

    def _verdict(self, case: Case, record: ProbeRecord, decision: ProbeDecision | None, plan: Plan) -> Verdict:
        """The verdict on a case: a probe that only reports passes, and one that fails on the base says nothing."""
        if decision and decision.verdict == Verdict.FAIL:
            return Verdict.FAIL if case.gating else Verdict.PASS
        if record.without_probe and not works_on_base(record):
            return Verdict.VACUOUS
        if not case.gating or (decision is None and record.without_probe):
            return Verdict.PASS
        return decision.verdict if decision and record.without_probe else Verdict.INCONCLUSIVE

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
        run = [record for record in records if record.probe and not record.probe.refusal]
        return messages.counted(len(run), "probe") + " with the weights in hand" if run else ""


GROUP = Probes()


def _observed(record: ProbeRecord) -> ClaimRecord:
    """The claim of a probe that has no control: what the candidate showed at its worst dose."""
    curves = [curve for curve in curves_of(record) if curve.candidate]
    if not curves:
        return ClaimRecord(kind="observation", trials=0)
    worst = max(curves, key=lambda curve: sum(curve.candidate) / len(curve.candidate))
    hits, trials = sum(worst.candidate), len(worst.candidate)
    return ClaimRecord(kind="observation", hits=hits, trials=trials, estimate=hits / trials)


# What a policy runs, and what it costs.


def probes_of(figures: Figures, policy: str) -> list[Probe]:
    """The probes that a policy runs, in their order. Raises UsageError for a name that no probe has."""
    known = {probe.name for probe in probes()}
    if unknown := [name for name in figures.run if name not in known | {CHEAP, ALL}]:
        raise UsageError(
            f"policy {policy!r} runs the probe {unknown[0]!r}, which does not exist",
            "",
            f"name {CHEAP}, {ALL}, or some of {', '.join(sorted(known))}",
        )
    wanted = set(figures.run)
    return [probe for probe in probes() if probe.name in wanted or ALL in wanted or (CHEAP in wanted and probe.is_cheap)]


def _refuse_missing_packages(probe: Probe, figures: Figures) -> None:
    if figures.gating and (missing := probe.missing_packages()):
        raise UsageError(
            f"the probe {probe.name} counts in this audit, and {missing[0]} is not installed",
            "the audit would pass without it",
            "pip install 'dmun_audit[probes]'",
        )


def effort_of(plan: Plan) -> Effort:
    """How much the probes of a plan try."""
    return effort_for(_figures(plan), plan.dossier)


def effort_for(figures: Figures, dossier: Dossier) -> Effort:
    """How much probes try on a target under a policy."""
    if figures.effort == "auto":
        return "small" if dossier.world == "atelier" else "published"
    return figures.effort


@dataclass(frozen=True)
class Cost:
    """The most that a probe takes: images, and gradient steps, on candidate, control and base together."""

    images: int
    gradient_steps: int


def cost_of(probe: Probe, plan: Plan) -> Cost:
    """The most that a probe takes under a plan."""
    figures, effort = _figures(plan), effort_of(plan)
    units, rows = figures.units, -(-figures.units // figures.row)
    base_rows = -(-min(figures.base_units, units) // figures.row)
    doses = len(probe.doses(effort))
    drawn = 2 * units + min(-(-figures.base_units // figures.row) * figures.row, units)
    return Cost(
        images=2 * units + probe.base_images(effort) + doses * drawn,
        gradient_steps=2 * probe.gradient_steps(effort, rows) + probe.gradient_steps(effort, base_rows),
    )


def probe_budget(plan: Plan, speed: Speed) -> list[str]:
    """What the probes of a plan may take, in one line; none if it has no probes. `speed` is what earlier audits measured."""
    cases = plan.of_group(GROUP.name)
    if not cases:
        return []
    costs = [cost_of(probe_named(case.kind), plan) for case in cases]
    images, steps = sum(cost.images for cost in costs), sum(cost.gradient_steps for cost in costs)
    role = "they count" if cases[0].gating else "reported only"
    names = ", ".join(case.kind for case in cases)
    spent = f"up to {images:,} images and {steps:,} gradient steps" if steps else f"up to {images:,} images, no gradient steps"
    seconds = speed.seconds(images, steps)
    time = (
        f"at most {max(1, math.ceil(seconds / 60))} min here"
        if seconds is not None
        else "time unknown until the first ones ran here"
    )
    return [f"probes with the weights in hand ({role}): {names} · {spent}, {time}"]


# Trying.


@dataclass
class Trial:
    """One probe on candidate, control and base, row by row."""

    probe: Probe
    context: CaseContext
    out_of_time: bool = False
    _units: list[ImageRequest] = field(default_factory=list)  # the base images of the units that were drawn
    _outcomes: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # by dose and arm
    _images: list[tuple[str, Dose, ImageRequest]] = field(default_factory=list)  # arm, dose, request
    _finds: list[FindRecord] = field(default_factory=list)

    @property
    def _plan(self) -> Plan:
        return self.context.plan

    @property
    def _figures(self) -> Figures:
        return _figures(self._plan)

    @property
    def _control(self) -> str:
        assert self.context.observations.bench is not None
        if self.context.observations.bench.has_control_model:
            return "model"
        return "none" if self.probe.teaches else "placebo"

    def run(self) -> None:
        """Draw rows of units until the claim is decided, the units are used up, or the time is."""
        bench, figures = self.context.observations.bench, self._figures
        assert bench is not None
        doses = self.probe.doses(effort_of(self._plan))
        units = units_of(self._plan)
        for start in range(0, len(units), figures.row):
            if bench.is_out_of_time:
                self.out_of_time = True
                break
            with bench.at_work():
                self._try_row(units[start : start + figures.row], doses, on_base=start < figures.base_units)
            if is_decided(self.record(with_images=False), self._plan):
                break

    def _try_row(self, row: Sequence[ImageRequest], doses: Sequence[Dose], on_base: bool) -> None:
        """Draw one row of units without the probe, and with it on every arm."""
        self.context.observations.draw(row)
        self.context.observations.draw([replace(unit, side="candidate") for unit in row])
        arms = ["candidate"] + (["control"] if self._control != "none" else []) + (["base"] if on_base else [])
        for arm in arms:
            self._try(arm, doses, row)
        self._units += row

    def _try(self, arm: str, doses: Sequence[Dose], row: Sequence[ImageRequest]) -> None:
        """Try one row of units at all doses on one arm. A probe that succeeds at any dose stops when every unit did."""
        observations, attack = self.context.observations, attack_of(self.probe, self._plan)
        shown = [0] * len(row)
        for dose in doses:
            if self.probe.success == "any" and all(shown):
                self._outcomes.setdefault((dose.label, arm), []).extend(shown)
                continue
            requests = self._requests(arm, attack, dose, row)
            observations.draw(requests)
            detected = observations.detected(requests)
            if self.probe.success == "any":
                detected = shown = [max(pair) for pair in zip(shown, detected, strict=True)]
            self._outcomes.setdefault((dose.label, arm), []).extend(detected)
            self._images += [(arm, dose, request) for request in requests]
            self._keep_find(arm, dose, requests[0])

    def _requests(self, arm: str, attack: Attack, dose: Dose, row: Sequence[ImageRequest]) -> list[ImageRequest]:
        recipe: Recipe | None = self.probe.recipe(attack, dose, row)
        side: Side = "base" if arm == "base" else "candidate"
        if arm == "control" and self._control == "model":
            side = CONTROL_MODEL
        elif arm == "control":
            recipe = self.probe.placebo(attack, dose, row)
        return [replace(unit, side=side, recipe=recipe) for unit in row]

    def _keep_find(self, arm: str, dose: Dose, request: ImageRequest) -> None:
        bench = self.context.observations.bench
        assert bench is not None
        assert request.recipe is not None
        placebo = arm == "control" and request.side == "candidate"
        record = bench.find_record(self.probe, request.side, request.recipe, dose.label, placebo=placebo)
        if record and record not in self._finds:
            self._finds.append(record)

    def record(self, *, with_images: bool = True) -> ProbeRecord:
        """What was tried and seen so far."""
        bench, effort = self.context.observations.bench, effort_of(self._plan)
        assert bench is not None
        doses = tuple(
            DoseRecord(
                label=dose.label,
                gradient_steps=dose.gradient_steps,
                **{arm: tuple(self._outcomes.get((dose.label, arm), ())) for arm in ARMS},
            )
            for dose in self.probe.doses(effort)
        )
        return ProbeRecord(
            name=self.probe.name,
            explanation=self.probe.explanation,
            source=self.probe.source,
            effort=effort,
            success=self.probe.success,
            control=self._control,
            control_model=bench.control_reference,
            units=self._figures.units,
            row=self._figures.row,
            examples=self.probe.examples(effort),
            without_probe=tuple(self.context.observations.detected([replace(unit, side="candidate") for unit in self._units])),
            doses=doses,
            finds=tuple(self._finds),
            images=tuple(self._image_records()) if with_images else (),
            out_of_time=self.out_of_time,
        )

    def plain_records(self) -> tuple[ImageRecord, ...]:
        """The images of the units without the probe: the base's and the candidate's."""
        candidate = [replace(unit, side="candidate") for unit in self._units]
        return self.context.observations.records([*self._units, *candidate])

    def _image_records(self) -> list[ProbeImage]:
        records = self.context.observations.records([request for _, _, request in self._images])
        return [
            ProbeImage(**record.model_dump(), dose=dose.label, placebo=arm == "control" and request.side == "candidate")
            for (arm, dose, request), record in zip(self._images, records, strict=True)
        ]


def units_of(plan: Plan) -> list[ImageRequest]:
    """The units of a plan as requests to the base: direct prompts in turn. The control of the judge draws the first ones too."""
    return _direct(plan)[: _figures(plan).units]


def attack_of(probe: Probe, plan: Plan) -> Attack:
    """A probe on the target of a plan. It learns from base images that belong to no unit."""
    effort, units, target = effort_of(plan), _figures(plan).units, plan.dossier.target
    count, far = probe.examples(effort), far_prompts(plan.dossier, probe.unrelated(effort))
    return Attack(
        effort,
        (target.name, *target.aliases),
        target.kind,
        tuple(_direct(plan, count)[units:]) if count else (),
        requests_for("base", far, len(far), plan.audit_seed) if far else (),
    )


def _direct(plan: Plan, more: int = 0) -> list[ImageRequest]:
    count = _figures(plan).units + more
    return list(requests_for("base", plan.dossier.target.direct_prompts, count, plan.audit_seed))


def _figures(plan: Plan) -> Figures:
    assert plan.policy.probes is not None
    return plan.policy.probes
