"""Where an audit's seeds come from: --audit-seed, the policy, or the fingerprint of the candidate."""

from __future__ import annotations

from dataclasses import dataclass

from dmun_audit._util.errors import UsageError
from dmun_audit.config.options import Options
from dmun_audit.models.references import ModelReference
from dmun_audit.plan.seeds import CHOSEN, DERIVED, FIXED, FORESEEN, UNKNOWN, drawn_seed, fingerprint_of
from dmun_audit.policy import Policy


@dataclass(frozen=True)
class Seeds:
    """The audit's seed, how it was drawn (see `plan.seeds`), and the fingerprint from which prompts are drawn.

    For images made elsewhere the fingerprint follows from the nonce alone, and is empty without one.
    """

    audit_seed: int
    drawn: str
    fingerprint: str


def seeds_of(options: Options, policy: Policy, dossier: str, candidate: ModelReference, digest: str) -> Seeds:
    """The seeds of an audit. `dossier` is the dossier's digest.

    `digest` is the digest of the candidate's weights as loaded; of its files if the weights are unseen; empty where the
    candidate is not loaded, because the tests are only listed. Raises UsageError if the policy draws the seed from weights that
    nobody sees.
    """
    if candidate.kind == "images":
        fingerprint = fingerprint_without_candidate(options, policy, dossier)
    else:
        fingerprint = fingerprint_of([digest], policy, dossier, options.nonce or "") if digest else ""
    if options.audit_seed is not None:
        return Seeds(options.audit_seed, CHOSEN, fingerprint)
    if policy.seeds != DERIVED:
        return Seeds(0, FIXED, fingerprint)
    if candidate.kind in {"images", "hook"}:
        raise no_seed_yet(policy)
    return Seeds(drawn_seed(fingerprint), DERIVED, fingerprint) if fingerprint else Seeds(0, UNKNOWN, "")


def fingerprint_without_candidate(options: Options, policy: Policy, dossier: str) -> str:
    """The fingerprint for images made elsewhere, which follows from the nonce; empty without one."""
    return FORESEEN + fingerprint_of([], policy, dossier, options.nonce) if options.nonce else ""


def no_seed_yet(policy: Policy) -> UsageError:
    """The error for a candidate without weights, under a policy that draws its seeds from them."""
    return UsageError(
        f"policy {policy.name!r} draws its seeds after the candidate's fingerprint is known",
        "these images do not come from files that have a fingerprint",
        "agree on a seed that the provider of the images does not choose, and give it as --audit-seed (also to dmun-audit requests)",
    )
