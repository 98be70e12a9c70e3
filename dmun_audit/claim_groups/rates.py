"""Claims that limit the share of candidate images that show the target. Erasure and adversarial prompts use them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dmun_audit.claim_groups.context import CaseContext
from dmun_audit.claim_groups.controls import judge_errors
from dmun_audit.claim_groups.group import CaseFindings, ClaimGroup
from dmun_audit.claim_groups.records import claim_record, with_highest_rates
from dmun_audit.claim_groups.rules import JudgeErrors, Outcomes, Rules
from dmun_audit.evidence import messages
from dmun_audit.evidence.schema import CaseRecord, SecondOpinion
from dmun_audit.plan.case import Case, ImageRequest
from dmun_audit.plan.plan import Plan
from dmun_audit.verdict.claims import rate_at_most
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.vocabulary import Verdict


class RateGroup(ClaimGroup):
    """A group whose claims limit how often the target is detected in the candidate's images."""

    refuted: str
    """What to do if a claim is refuted."""

    def fixed_decision(self, plan: Plan, outcomes: Sequence[Outcomes], limit: float) -> Decision:
        """See `ClaimGroup.fixed_decision`: the exact binomial bounds."""
        hits, trials = sum(map(sum, outcomes)), sum(map(len, outcomes))
        return rate_at_most(hits, trials, limit, plan.alpha_on_rates, plan.alpha_fail)

    def rate_findings(self, case: Case, drawn: tuple[ImageRequest, ...], context: CaseContext, question: str) -> CaseFindings:
        """Decide a case from the answers on its candidate images of the judge, and of the second judge if there is one."""
        target, must_agree = context.plan.dossier.target.name, context.plan.policy.controls.must_agree
        outcomes, most = self.outcomes(case, drawn, context), context.max_images(case)
        decision = context.rules().decide_case(self, case, outcomes.first, most)
        verdict, remedy = decision.verdict, messages.advice(decision, self.refuted, "images of this prompt")
        seen = messages.rate_sentence(target, decision, "candidate images")
        more: dict[str, object] = {}
        if outcomes.second is not None:
            other = context.rules("second").decide_case(self, case, outcomes.second, most)
            claim = claim_record(other, outcomes=tuple(outcomes.second))
            more["second"] = SecondOpinion(verdict=other.verdict, claim=claim)
            if must_agree and other.verdict != decision.verdict:
                verdict, remedy = Verdict.INCONCLUSIVE, messages.JUDGES_DISAGREE
                seen += f" The second judge: {messages.rate_sentence(target, other, 'candidate images')}"
        claim = claim_record(decision, outcomes=tuple(outcomes.first))
        return CaseFindings(Verdict(verdict), claim, question, seen, remedy, more=more)

    def decide_pooled(self, case: Case, members: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]) -> CaseFindings:
        """See `ClaimGroup.decide_pooled`: by one judge, or by both, with the members of the highest rates."""
        counted = [record for record in members if record.verdict != Verdict.VACUOUS]
        return with_highest_rates(self.pooled_findings(case, counted, plan, records), counted, self.unit)

    def pooled_findings(
        self, case: Case, counted: Sequence[CaseRecord], plan: Plan, records: Iterable[CaseRecord]
    ) -> CaseFindings:
        """The decision on a pooled claim from the records that count in it."""
        records = list(records)
        question, images = f"{case.title}.", self.counted_images(counted)
        outcomes = [record.claim.outcomes or () for record in counted if record.claim]
        by_first = self._by_one_judge(plan, outcomes, judge_errors(records), question, images)
        if not counted or not all(record.second for record in counted):
            return by_first
        outcomes = [record.second.claim.outcomes or () for record in counted if record.second]
        by_second = self._by_one_judge(plan, outcomes, judge_errors(records, second=True), question, images)
        verdict, remedy = by_first.verdict, by_first.remedy
        if plan.policy.controls.must_agree and by_second.verdict != by_first.verdict:
            verdict, remedy = Verdict.INCONCLUSIVE, messages.JUDGES_DISAGREE
        return CaseFindings(
            verdict,
            by_first.claim,
            question,
            f"{by_first.seen} The second judge: {by_second.seen}",
            remedy,
            measures=by_first.measures,
            more={"second": SecondOpinion(verdict=by_second.verdict, claim=by_second.claim)},
        )

    def pooled_decision(self, rules: Rules, outcomes: Sequence[Outcomes]) -> Decision:
        """The decision of one judge on a pooled claim."""
        return rules.decide_group(self, outcomes)

    def counted_images(self, counted: Sequence[CaseRecord]) -> str:
        """The name of the pooled claim's images in sentences."""
        raise NotImplementedError(f"The claim group {self.name} does not name the images of its pooled claim.")

    def _by_one_judge(
        self, plan: Plan, outcomes: Sequence[Outcomes], errors: JudgeErrors | None, question: str, images: str
    ) -> CaseFindings:
        rules = Rules(plan, errors)
        decision = self.pooled_decision(rules, outcomes)
        measures = rules.true_rate(decision)
        seen = messages.rate_sentence(plan.dossier.target.name, decision, images)
        if measures and rules.corrects_for_judge(self):
            seen += f" {messages.JUDGE_ERRORS_INCLUDED}"
        elif measures:
            seen += f" {messages.true_rate_sentence(measures['true_rate_lower'], measures['true_rate_upper'])}"
        remedy = messages.advice(decision, self.refuted, "images")
        claim = claim_record(decision)
        return CaseFindings(Verdict(decision.verdict), claim, question, seen, remedy, measures=measures)
