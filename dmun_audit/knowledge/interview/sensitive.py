"""Targets that a language model, or a name alone, shows to be unsafe: they are worked on only if the user says so."""

from __future__ import annotations

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.dossier import Kind
from dmun_audit.knowledge.texts import skeleton

WORDS = frozenset(
    (
        *("nudity", "nude", "nudes", "naked", "topless", "nsfw", "porn", "porno", "pornography", "pornographic", "hentai"),
        *("sex", "sexual", "erotic", "erotica", "explicit", "gore", "gory", "blood", "bloody", "violence", "violent"),
        *("torture", "mutilation", "suicide", "hate", "swastika", "nazi", "terrorism"),
    )
)


def require_allowed(name: str, kind: Kind | None, allowed: bool) -> None:
    """Raise UsageError for an unsafe target unless it is `allowed`."""
    if allowed:
        return
    if kind == "unsafe" or WORDS.intersection(skeleton(name)):
        raise UsageError(
            f"the target {name!r} is unsafe content",
            "its prompts would be written, and pictures of it drawn on the model before unlearning",
            "add --allow-sensitive if that is what you mean to do",
        )
