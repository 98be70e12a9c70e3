"""The plan of an audit: its cases in order, with dossier, policy and seed. `claim_groups.planning` makes it."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit._util.hashing import digest
from dmun_audit.knowledge.dossier import Dossier, NearbyConcept
from dmun_audit.plan.baseline import BASELINE, Baseline
from dmun_audit.plan.case import Case
from dmun_audit.plan.regressions import Regression
from dmun_audit.policy import Policy
from dmun_audit.verdict.vocabulary import CONTROLS


@dataclass(frozen=True)
class Plan:
    """All cases of one audit in order. `nearby` are the concepts under test, the most similar first.

    Fresh prompts and triggers are drawn from `fingerprint` (see `plan.seeds`). `regressions` are finds of earlier audits.
    `baseline` is what an earlier audit saw of an earlier candidate.
    """

    dossier: Dossier
    policy: Policy
    audit_seed: int
    nearby: tuple[NearbyConcept, ...]
    cases: tuple[Case, ...]
    fingerprint: str = ""
    regressions: tuple[Regression, ...] = ()
    baseline: Baseline | None = None

    def of_group(self, group: str, pooled: bool = False) -> tuple[Case, ...]:
        """The single cases of one group, or its pooled cases."""
        return tuple(case for case in self.cases if case.group == group and case.pooled is pooled)

    def of_kind(self, kind: str) -> Case:
        """The only case of a kind, such as "sensitivity"."""
        return next(case for case in self.cases if case.kind == kind)

    @property
    def refutations(self) -> int:
        """M of the error budget: the number of gating claims that can FAIL. Comparisons with a baseline have a budget of their own."""
        return max(1, sum(case.gating and case.group not in (CONTROLS, BASELINE) for case in self.cases))

    @property
    def alpha_fail(self) -> float:
        """The error rate at which one claim is refuted: alpha / M."""
        return self.policy.alpha / self.refutations

    @property
    def alpha_on_rates(self) -> float:
        """The error rate of a PASS of a pooled claim on a rate.

        If the policy requires a spot-check, it is half of alpha. The other half belongs to the bound on the judge's misses.
        """
        required = self.policy.controls.spot_check == "required"
        return self.policy.alpha / 2.0 if required else self.policy.alpha

    def digest(self) -> str:
        """SHA-256 of dossier, policy, seed, case ids and, where there is one, the fingerprint."""
        drawn_from = [self.fingerprint] if self.fingerprint else []
        return digest(
            [self.dossier.digest(), self.policy.as_dict(), self.audit_seed, [case.id for case in self.cases], *drawn_from]
        )
