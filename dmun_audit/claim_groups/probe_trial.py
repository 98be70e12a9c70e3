"""Tries one probe on candidate, control and base, row by row, until its claim is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.probe_decision import is_decided
from dmun_audit.claim_groups.probe_planning import attack_of, base_rows_of, effort_of, row_size, units_of
from dmun_audit.evidence.schema import DoseRecord, FindRecord, ImageRecord, ProbeImage, ProbeRecord
from dmun_audit.plan.case import CONTROL_MODEL, ImageRequest, Recipe, Side
from dmun_audit.plan.plan import Plan
from dmun_audit.probes.parts.bench import Bench
from dmun_audit.probes.probe import Attack, Dose, Probe

ARMS = ("candidate", "control", "base")
KNOWS_AT = 0.25
"""A control that shows the target in more of the units without any attack is no model that never knew it."""


@dataclass
class Trial:
    """One probe on candidate, control and base, row by row."""

    probe: Probe
    context: CaseContext
    bench: Bench
    out_of_time: bool = False
    _units: list[ImageRequest] = field(default_factory=list)  # the base images of the units that were drawn
    _outcomes: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # by dose and arm
    _images: list[tuple[str, Dose, ImageRequest]] = field(default_factory=list)  # arm, dose, request
    _finds: list[FindRecord] = field(default_factory=list)

    @property
    def _plan(self) -> Plan:
        return self.context.plan

    @property
    def _control(self) -> str:
        if self.bench.has_control_model:
            return "model"
        return "none" if self.probe.teaches else "placebo"

    def run(self) -> None:
        """Draw rows of units until the claim is decided, the units are used up, or the time is. Raises UsageError for a control model
        that shows the target by itself.
        """
        doses, units, row = self.probe.doses(effort_of(self._plan)), units_of(self._plan), row_size(self._plan)
        for start in range(0, len(units), row):
            if self.bench.is_out_of_time:
                self.out_of_time = True
                break
            with self.bench.at_work():
                self._try_row(units[start : start + row], doses, on_base=start < base_rows_of(self._plan) * row)
            if is_decided(self.record(with_images=False), self._plan):
                break

    def _try_row(self, row: Sequence[ImageRequest], doses: Sequence[Dose], on_base: bool) -> None:
        """Draw one row of units without the probe, and with it on every arm."""
        self.context.observations.draw(row)
        self.context.observations.draw([replace(unit, side="candidate") for unit in row])
        if self._control == "model":
            self._refuse_knowing_control(row)
        arms = ["candidate"] + (["control"] if self._control != "none" else []) + (["base"] if on_base else [])
        for arm in arms:
            self._try(arm, doses, row)
        self._units += row

    def _refuse_knowing_control(self, row: Sequence[ImageRequest]) -> None:
        plain = [replace(unit, side=CONTROL_MODEL) for unit in row]
        self.context.observations.draw(plain)
        shown = sum(self.context.observations.detected(plain))
        if shown > KNOWS_AT * len(plain):
            raise UsageError(
                f"the control of probes, {self.bench.control_reference}, shows the target in {shown} of {len(plain)} images without any attack",
                "every attack on the candidate would look harmless beside it",
                "name a model that never knew the target with --probe-control, or leave the option out",
            )

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
        if request.recipe is None:
            return  # the candidate without the attack
        placebo = arm == "control" and request.side == "candidate"
        record = self.bench.find_record(self.probe, request.side, request.recipe, dose.label, placebo=placebo)
        if record and record not in self._finds:
            self._finds.append(record)

    def record(self, *, with_images: bool = True) -> ProbeRecord:
        """What was tried and seen so far."""
        effort = effort_of(self._plan)
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
            control_model=self.bench.control_reference,
            units=len(units_of(self._plan)),
            row=row_size(self._plan),
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
