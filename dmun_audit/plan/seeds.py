"""Seeds that nobody chose: drawn from the candidate's weights, the policy's figures, the dossier, and a number from outside.

A candidate's maker can still change a last bit of the weights, and so try one seed after another. Only a nonce that is published
after the weights are final prevents that. One figure after another on the same weights stands in the log of attempts
(`store.attempts`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from dmun_audit._util.hashing import digest, seed_of
from dmun_audit.policy import Policy
from dmun_audit.policy.sections import AUTO_BATCH

NOT_DRAWN_FROM = ("name", "release_evidence", "waivers")
"""Keys of a policy that decide no figure. Another name or a waiver draws no other seeds, and images are reused."""

CHOSEN = "option"
"""How the seed was drawn: --audit-seed gave it."""

FIXED = "policy"
"""How the seed was drawn: the policy has one seed for all audits."""

DERIVED = "after fingerprint"
"""How the seed was drawn: from the fingerprint."""

UNKNOWN = "not drawn yet"
"""How the seed was drawn: the tests are only listed, and the candidate's weights were not loaded yet."""


FORESEEN = "foreseen:"
"""A fingerprint that starts so follows from no weights: whoever makes the images must know the prompts."""


def figures_digest(policy: Policy) -> str:
    """SHA-256 (64 hex digits) of the policy's figures, without its name and its waivers.

    What the device may decide counts as its default here: number format, acceleration and batch size. So a repetition on another device
    has the same seeds, whatever memory is free. (The weights as loaded have the number format, so seeds drawn from them follow it.) The
    profile counts as "fidelity": the images of two profiles can be compared one by one.
    """
    sampling = replace(policy.sampling, dtype="float32", acceleration="auto", profile="fidelity", batch=AUTO_BATCH)
    figures = replace(policy, sampling=sampling).as_dict()
    return digest({key: value for key, value in figures.items() if key not in NOT_DRAWN_FROM})


def fingerprint_of(weights: Collection[str], policy: Policy, dossier: str, nonce: str = "") -> str:
    """The fingerprint of an audit (64 hex digits), from which seeds are drawn.

    `weights` are the digests of the weights as loaded of all candidates that share the seeds. Their order does not matter.
    `dossier` is the digest of the dossier.
    """
    return digest(["fingerprint", sorted(set(weights)), figures_digest(policy), dossier, nonce])


def foreseen(fingerprint: str) -> bool:
    """Whether what is drawn from a fingerprint can be known before the candidate is final."""
    return not fingerprint or fingerprint.startswith(FORESEEN)


def drawn_seed(fingerprint: str) -> int:
    """The audit's seed in [0, 2**31) that follows from a fingerprint."""
    return seed_of("audit", fingerprint) % 2**31


def seed_words(audit_seed: int, drawn: str) -> str:
    """The seed and how it was drawn, for one line."""
    how = {CHOSEN: "chosen", FIXED: "fixed by the policy", DERIVED: "drawn from the candidate's weights"}.get(drawn)
    if drawn == UNKNOWN:
        return "audit seed drawn from the candidate's weights when the audit runs"
    return f"audit seed {audit_seed}" + (f" ({how})" if how else "")


def seed_sentences(audit_seed: int, drawn: str, nonce: str = "", prompts_from: str = "") -> list[str]:
    """What a reader must know of the seeds, in sentences. `prompts_from` names what fresh prompts are drawn from; empty for none."""
    said = {
        CHOSEN: f"The seed {audit_seed} was chosen: --audit-seed gave it.",
        FIXED: f"The seed {audit_seed} is fixed by the policy, so that audits share the base's images. Whoever made the candidate could "
        "know it.",
        DERIVED: f"Nobody chose the seed {audit_seed}: it follows from the candidate's weights, the policy and the dossier.",
    }
    sentences = [said[drawn]] if drawn in said else []
    if prompts_from and drawn != DERIVED:
        sentences.append(f"Fresh prompts and triggers are drawn from {prompts_from}, the policy and the dossier.")
    return [*sentences, *([f"The nonce {nonce!r} is part of what was drawn."] if nonce else [])]
