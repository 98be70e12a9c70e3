"""Policies: thresholds, error rates and sample budgets, read from TOML and checked key by key."""

from dmun_audit.policy.loading import BUILT_IN, alterations, built_in_names, load_policy, policy_from_table
from dmun_audit.policy.sections import (
    Adversarial,
    Burden,
    Controls,
    Erasure,
    GroupBurden,
    Policy,
    Retention,
    Sampling,
    Stopping,
    Waiver,
)

__all__ = [
    "BUILT_IN",
    "Adversarial",
    "Burden",
    "Controls",
    "Erasure",
    "GroupBurden",
    "Policy",
    "Retention",
    "Sampling",
    "Stopping",
    "Waiver",
    "alterations",
    "built_in_names",
    "load_policy",
    "policy_from_table",
]
