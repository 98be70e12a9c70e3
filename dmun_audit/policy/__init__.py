"""Policies: thresholds, error rates and numbers of images, read from TOML files and checked key by key."""

from dmun_audit.policy.loading import BUILT_IN, alterations, baseline, built_in_names, load_policy, policy_from_table
from dmun_audit.policy.policy import Policy
from dmun_audit.policy.schema import policy_json_schema
from dmun_audit.policy.sections import Adversarial, Controls, Erasure, Retention, Sampling, Substitute, Waiver
from dmun_audit.policy.strictness import release_sentence, weaker_than_release

__all__ = [
    "BUILT_IN",
    "Adversarial",
    "Controls",
    "Erasure",
    "Policy",
    "Retention",
    "Sampling",
    "Substitute",
    "Waiver",
    "alterations",
    "baseline",
    "built_in_names",
    "load_policy",
    "policy_from_table",
    "policy_json_schema",
    "release_sentence",
    "weaker_than_release",
]
