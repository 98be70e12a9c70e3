"""The built-in policies with the claims on erasure, adversarial prompts and retained accuracy alone, for tests of these claims."""

from dataclasses import fields, replace

from dmun_audit.policy import load_policy


def core_policy(name):
    """The built-in policy of that name without its optional sections, and without the claim on CLIP scores."""
    policy = load_policy(name)
    sections = {field.name: None for field in fields(policy) if field.default is None and field.name != "extends"}
    return replace(policy, **sections, retention=replace(policy.retention, score_margin=None))
