"""The public statistics: every claim, bound, test and distance of an audit, as a function of plain numbers.

They need no model, no image and no torch.

Example:
    >>> from dmun_audit import statistics
    >>> statistics.rate_at_most(0, 62, ceiling=0.05)
    <Decision PASS: 0 of 62, at most 4.72% with 95% confidence; ceiling 5%>

Claims return a `Decision`: PASS if the claim is proven, FAIL if it is refuted, INCONCLUSIVE otherwise.

- A rate, with a number of images that was fixed in advance: `rate_at_most`, `rate_at_least`; bounds, and sample sizes to
  plan with: `upper_bound`, `lower_bound`, `allowed_hits`, `sample_size`.
- A rate or a net loss that is looked at again and again: `SequentialClaim`, `decide_sequentially`. These claims are
  anytime-valid: their error rates hold over all looks together.
- The true rate, with the error rates of the judge included: `true_rate_upper`, `true_rate_lower`.
- Same-seed pairs: `accuracy_loss_at_most`, `score_loss_at_most`, `mean_difference_at_most`.
- Distances between sets of images: `kid`, `cmmd`, `paired_mmd`, with the test `paired_sign_flip_test` and the floors
  `noise_floor`, `compare_other_seeds`.
- Several tests at once: `holm`.
- Rank correlation: `spearman`; of two sources with the same damage: `rank_correlation_difference`; over several audits:
  `pooled_spearman`, `pooled_difference`, of `ranked_concepts`; to plan with: `concepts_needed`.
- Labels: `kappa`, `kappa_interval`, `agreement_interval`, and `count_upper_bound`, `count_lower_bound`, `labels_needed`
  for a finite set of images.

The page "The statistics in plain words" of the documentation explains the terms.
"""

from __future__ import annotations

from dmun_audit.verdict.agreement import ConfusionTable, agreement_interval, confusion_table, kappa, kappa_interval
from dmun_audit.verdict.bounds import allowed_hits, lower_bound, sample_size, upper_bound
from dmun_audit.verdict.claims import harm_only, rate_at_least, rate_at_most
from dmun_audit.verdict.concepts_needed import concepts_needed
from dmun_audit.verdict.decision import Decision
from dmun_audit.verdict.distances import (
    SignFlipTest,
    cmmd,
    cmmd_kernel,
    kid,
    paired_mmd,
    paired_sign_flip_test,
    polynomial_kernel,
)
from dmun_audit.verdict.finite_population import count_lower_bound, count_upper_bound, labels_needed
from dmun_audit.verdict.holm import holm
from dmun_audit.verdict.judge_error import true_rate_lower, true_rate_upper
from dmun_audit.verdict.noise_floor import OtherSeeds, compare_other_seeds, noise_floor
from dmun_audit.verdict.ordering import RankCorrelation, spearman
from dmun_audit.verdict.paired import accuracy_loss_at_most, allowed_losses, mean_difference_at_most
from dmun_audit.verdict.paired_score import allowed_losses_by_score, score_loss_at_most
from dmun_audit.verdict.pooled_ordering import PooledCorrelation, RankedConcepts, pooled_spearman, ranked_concepts
from dmun_audit.verdict.rank_differences import RankDifference, pooled_difference, rank_correlation_difference
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim, decide_sequentially, look_schedule
from dmun_audit.verdict.vocabulary import Burden, ClaimKind, Stopping, Verdict

__all__ = [
    "Burden",
    "ClaimKind",
    "ConfusionTable",
    "Decision",
    "OtherSeeds",
    "OutcomeCounts",
    "PooledCorrelation",
    "RankCorrelation",
    "RankDifference",
    "RankedConcepts",
    "SequentialClaim",
    "SignFlipTest",
    "Stopping",
    "Verdict",
    "accuracy_loss_at_most",
    "agreement_interval",
    "allowed_hits",
    "allowed_losses",
    "allowed_losses_by_score",
    "cmmd",
    "cmmd_kernel",
    "compare_other_seeds",
    "concepts_needed",
    "confusion_table",
    "count_lower_bound",
    "count_upper_bound",
    "decide_sequentially",
    "harm_only",
    "holm",
    "kappa",
    "kappa_interval",
    "kid",
    "labels_needed",
    "look_schedule",
    "lower_bound",
    "mean_difference_at_most",
    "noise_floor",
    "paired_mmd",
    "paired_sign_flip_test",
    "polynomial_kernel",
    "pooled_difference",
    "pooled_spearman",
    "rank_correlation_difference",
    "ranked_concepts",
    "rate_at_least",
    "rate_at_most",
    "sample_size",
    "score_loss_at_most",
    "spearman",
    "true_rate_lower",
    "true_rate_upper",
    "upper_bound",
]
