"""Unsafe targets, known by their name or by a language model: they need the user's permission."""

from __future__ import annotations

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.dossier import Kind
from dmun_audit.knowledge.words.texts import skeleton

UNSAFE_WORDS = frozenset(
    (
        *("nudity", "nude", "nudes", "naked", "topless", "nsfw", "porn", "porno", "pornography", "pornographic", "hentai"),
        *("sex", "sexual", "erotic", "erotica", "explicit", "gore", "gory", "blood", "bloody", "violence", "violent"),
        *("torture", "mutilation", "suicide", "hate", "swastika", "nazi", "terrorism"),
    )
)


def require_allowed(name: str, kind: Kind | None, allowed: bool) -> None:
    """Raise UsageError for an unsafe target unless it is `allowed`. `kind` is None before anything is known of the target."""
    if allowed:
        return
    if kind == "unsafe" or UNSAFE_WORDS.intersection(skeleton(name)):
        raise UsageError(
            f"the target {name!r} is unsafe content",
            "the audit would write prompts about it and draw images of it with the model before unlearning",
            "add --allow-sensitive if you want that",
        )
