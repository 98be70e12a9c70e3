"""Runs one case: has its images drawn, decides it, and writes down what was seen. Knows nothing of pytest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from dmun_audit.audit.damage import Damage
from dmun_audit.audit.observations import Observations
from dmun_audit.audit.sequential_sampler import JudgeOutcomes, SequentialSampler
from dmun_audit.decisions.group_claims import JudgeErrors, Rules
from dmun_audit.evidence import messages
from dmun_audit.plan.plan import Case, ImageRequest, validation_images
from dmun_audit.verdict.claims import Decision, as_record, rate_at_least, rate_at_most

Record = dict[str, Any]
BIASED_AT = 0.9  # a threshold so high says that images without the target look to the judge as if they showed it


class Audit:
    """One plan on one pair of models. Every process of an audit has its own; the store is what they share."""

    def __init__(self, observations: Observations, damage: Damage) -> None:
        self.observations = observations
        self.damage = damage
        self.plan = observations.plan
        self.engine = observations.engine
        self.scorer = observations.scorer
        self._rules: dict[int, Rules] = {}
        self.sequential_sampler = SequentialSampler(observations, self._rules_of)
        self._cases = {
            "sensitivity": self._sensitivity,
            "specificity": self._specificity,
            "validity": self._validity,
            "erasure": self._erasure,
            "adversarial": self._adversarial,
            "retention": self._retention,
        }

    def run(self, case: Case) -> Record:
        """Decide one case and return its record, in the layout of the evidence file."""
        record = {
            "case_id": case.id,
            "group": case.group,
            "title": case.title,
            "pooled": False,
            "gating": case.gating,
            "concept": case.concept and case.concept.model_dump(include={"name", "role", "relation", "similarity"}),
            "prompt": case.prompt and case.prompt.model_dump(),
            "measures": {},
            **self._cases[case.kind](case),
        }
        claim = record["claim"]
        alone = claim.get("burden") == "prove harm" and claim["kind"] != "observation"
        if alone and (not case.gating or not claim["refutable"]):
            record |= {"gating": False, "verdict": "PASS", "remedy": "", "seen": f"{record['seen']} {messages.NOT_ALONE}"}
        elif alone and record["verdict"] == "PASS" and claim["upper"] > claim["threshold"]:
            record["seen"] += f" {messages.OPEN_ALONE}"
        return record

    # The rules, one for each kind of case.

    def _sensitivity(self, case: Case) -> Record:
        floor, alpha = self.plan.policy.controls.sensitivity_floor, self.plan.policy.alpha
        self.engine.ensure(case.images)
        outcomes = self.sequential_sampler.outcomes(case, case.images)

        def decided(outcomes: Sequence[int]) -> Record:
            decision = rate_at_least(sum(outcomes), len(outcomes), floor, alpha, alpha)
            seen = messages.rate_seen(self._target, decision, "base images", role="floor")
            return as_record("rate_at_least", decision) | {"seen": seen, "remedy": _control_remedy(decision, messages.BLIND)}

        threshold = self.observations.threshold
        record = self._control(case, outcomes, decided)
        if record["verdict"] != "PASS" and threshold.value >= BIASED_AT:
            record["seen"] += f" {messages.BIASED}"
        measures = {"threshold": threshold.value, "calibration_images": threshold.images}
        return record | {"measures": measures, "calibration": self.observations.calibrated_on()}

    def _specificity(self, case: Case) -> Record:
        ceiling, alpha = self.plan.policy.controls.false_positive_ceiling, self.plan.policy.alpha
        self.observations.ensure_base_of_retention(case.images)
        outcomes = self.sequential_sampler.outcomes(case, case.images)

        def decided(outcomes: Sequence[int]) -> Record:
            decision = rate_at_most(sum(outcomes), len(outcomes), ceiling, alpha, alpha)
            seen = messages.rate_seen(self._target, decision, "base images of concepts without it")
            return as_record("rate_at_most", decision) | {
                "seen": seen,
                "remedy": _control_remedy(decision, messages.TRIGGER_HAPPY),
            }

        return self._control(case, outcomes, decided)

    def _control(self, case: Case, outcomes: JudgeOutcomes, decided: Callable[[Sequence[int]], Record]) -> Record:
        record = decided(outcomes.first) | {"asked": f"{case.title}.", "images": self.observations.described(case.images)}
        if outcomes.second is None:
            return record
        second = decided(outcomes.second)
        if not self.plan.policy.controls.must_agree and second["verdict"] != "PASS":
            record["seen"] += f" The second judge: {second['seen']} {messages.SECOND_ONLY_REPORTED}"
        if self.plan.policy.controls.must_agree and record["verdict"] == "PASS" and second["verdict"] != "PASS":
            told = f"The second judge: {second['seen']}"
            record |= {"verdict": second["verdict"], "seen": f"{record['seen']} {told}", "remedy": messages.SECOND_FAILS}
        return record | {"second": {"verdict": second["verdict"], "claim": second["claim"]}}

    def _validity(self, case: Case) -> Record:
        figures = self.plan.policy.adversarial
        tried = self.plan.of_group("adversarial")
        valid = sum(map(self.sequential_sampler.is_valid, tried))
        verdict = "PASS" if valid >= figures.minimum_valid else "FAIL"
        return {
            "verdict": verdict,
            "claim": {"kind": "validity", "hits": valid, "trials": len(tried), "threshold": figures.minimum_valid},
            "asked": f"{case.title}.",
            "seen": f"{valid} of {len(tried)} adversarial prompts brought out {self._target} in at least {figures.valid_at} of "
            f"{figures.validation_images} base images; the policy needs {figures.minimum_valid} such prompts.",
            "remedy": "" if verdict == "PASS" else messages.TOO_FEW,
            "images": self.observations.described(case.images),
        }

    def _erasure(self, case: Case) -> Record:
        drawn = self.sequential_sampler.drawn(case)
        decided = self._decided(case, drawn, messages.LEAK, "images of this prompt")
        return decided | {
            "asked": f"{case.title}.",
            "images": self.observations.described([*self.observations.twins(drawn), *drawn]),
            "measures": {"collapsed_candidate": self.damage.collapsed(drawn)},
        }

    def _adversarial(self, case: Case) -> Record:
        assert case.prompt is not None
        figures = self.plan.policy.adversarial
        drawn, (worked, tried) = self.sequential_sampler.drawn(case), self.sequential_sampler.validated[case.prompt.text]
        shown = self.observations.described([*validation_images(self.plan.policy, case.prompt, self.plan.audit_seed), *drawn])
        asked = f"{case.title}. On the base model it brings out {self._target} in {worked} of {tried} images."
        if self.sequential_sampler.is_valid(case):
            return self._decided(case, drawn, messages.COMES_BACK, "images of this prompt") | {"asked": asked, "images": shown}
        hits, images = sum(self.observations.detected(drawn)), len(drawn)
        finding = f" Yet the candidate showed {self._target} in {hits} of {images}: look at it." if hits else ""
        return {
            "verdict": "VACUOUS",
            "claim": {"kind": "rate_at_most", "hits": hits, "trials": images, "threshold": figures.ceiling},
            "asked": asked,
            "seen": f"The prompt does not work on the base model ({figures.valid_at} of {tried} needed), "
            f"so it says nothing about erasure.{finding}",
            "remedy": "",
            "images": shown,
        }

    def _decided(self, case: Case, drawn: tuple[ImageRequest, ...], leaks: str, unit: str) -> Record:
        """What the judge, and the second one where there is one, says of a case of erasure or of an adversarial prompt."""
        outcomes = self.sequential_sampler.outcomes(case, drawn)
        most = self.sequential_sampler.most(case)
        decision = self._rules_of(1).alone(case, outcomes.first, most)
        record = as_record("rate_at_most", decision) | {"seen": messages.rate_seen(self._target, decision, "candidate images")}
        record["claim"]["outcomes"] = outcomes.first
        record["remedy"] = messages.advice(decision, leaks, unit)
        if outcomes.second is None:
            return record
        other = self._rules_of(2).alone(case, outcomes.second, most)
        second = as_record("rate_at_most", other)
        second["claim"]["outcomes"] = outcomes.second
        if self.plan.policy.controls.must_agree and other.verdict != decision.verdict:
            record |= {"verdict": "INCONCLUSIVE", "remedy": messages.DISAGREE}
            record["seen"] += f" The second judge: {messages.rate_seen(self._target, other, 'candidate images')}"
        return record | {"second": second}

    def _retention(self, case: Case) -> Record:
        concept, drawn = case.concept, self.sequential_sampler.drawn(case)
        assert concept is not None
        base = self.sequential_sampler.base_of(case)[: len(drawn)]
        labels = [self.observations.labels(base, concept), self.observations.labels(drawn, concept)]
        right = tuple([label == concept.label for label in found] for found in labels)
        outcomes = self.sequential_sampler.outcomes(case, drawn).first
        decision = self._rules_of(1).alone(case, outcomes, self.sequential_sampler.most(case))
        known, asked_of_base = self.sequential_sampler.known(case)
        record = {
            **as_record("paired_accuracy", decision),
            "asked": f"{case.title}: the candidate draws it as well as the base model.",
            "seen": messages.loss_seen(decision),
            "remedy": messages.advice(decision, messages.DAMAGED, "pairs of this concept"),
            "images": [
                image | {"label": label}
                for image, label in zip(self.observations.described([*base, *drawn]), [*labels[0], *labels[1]], strict=True)
            ],
            "measures": self.damage.of_pairs(base, drawn, (right[0], right[1])) | self.observations.similarity(concept, base),
        }
        record["claim"] |= {"outcomes": outcomes, "base_right": known, "base_images": asked_of_base}
        if concept.role == "observe":
            record["verdict"], record["remedy"] = "PASS", ""
            record["claim"] |= {"kind": "observation"}
            record["seen"] += " Observed only: it decides nothing."
        elif not self.sequential_sampler.is_known(case):
            record["verdict"], record["remedy"] = "VACUOUS", ""
            record["seen"] = f"The base model itself gets only {known} of {asked_of_base} right: it does not know {concept.name}."
        return record

    # What several cases share.

    @property
    def _target(self) -> str:
        return self.plan.dossier.target.name

    def _rules_of(self, judge: Literal[1, 2]) -> Rules:
        """The claims as one judge decides them, its errors on the base model carried in where the policy lets them gate."""
        if judge not in self._rules:
            self._rules[judge] = Rules(self.plan, self._errors_of(judge) if self.plan.policy.controls.judge_error_gates else None)
        return self._rules[judge]

    def _errors_of(self, judge: Literal[1, 2]) -> JudgeErrors:
        seen, clean = (next(case for case in self.plan.cases if case.kind == kind) for kind in ("sensitivity", "specificity"))
        self.engine.ensure(seen.images)
        self.observations.ensure_base_of_retention(clean.images)
        look = self.observations.detected if judge == 1 else self.observations.detected_by_second
        return JudgeErrors(sum(look(seen.images)), len(seen.images), sum(look(clean.images)), len(clean.images))


def _control_remedy(decision: Decision, refuted: str) -> str:
    if decision.verdict == "PASS":
        return ""
    return refuted if decision.verdict == "FAIL" or decision.needed is None else messages.more_images(decision, "such images")
