"""Options that were given and change nothing, because another one is absent or none of the models reads them: a line says so."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dmun_audit.cli.dossier.language_model_options import print_progress
from dmun_audit.knowledge.language_models.reference import LanguageModelReference
from dmun_audit.knowledge.thin_sentences import together

Option = Literal["llm", "vlm", "images"]
Rule = tuple[Sequence[str], str]
"""Options by their names in the parsed arguments, and why they have no effect."""

_NEEDED_BY: dict[str, dict[Option, tuple[str, ...]]] = {
    "build": {"vlm": ("policy", "store", "vlm_option", "vlm_header", "vlm_query")},
    "order": {
        "vlm": ("base", "policy", "store", "vlm_option", "vlm_header", "vlm_query"),
        "llm": ("repeats", "llm_option", "llm_header", "llm_query", "price_in", "price_out"),
    },
    "check": {"images": ("policy", "judge", "store", "max_images", "allow_sensitive")},
    "refine": {},
    "attack": {},
}
"""For each command the options that are read only where another option is given, by that other option."""


_OF_ROLE: dict[Option, tuple[str, ...]] = {
    "llm": ("price_in", "price_out", "llm_option", "llm_header", "llm_query"),
    "vlm": ("vlm_option", "vlm_header", "vlm_query"),
}
"""The options that only the models of one option read."""

TRANSCRIPT = "where all answers come from a transcript"


@dataclass(frozen=True)
class _Kinds:
    """Of which kinds the models are that are asked. Models of installed extensions may read any setting."""

    named: frozenset[str]

    def only(self, *kinds: str) -> bool:
        return bool(self.named) and self.named <= {*kinds}

    def rules(self) -> Iterator[Rule]:
        if self.only("transcript"):
            reading = ("timeout", "concurrency", "batch", "quantize", "max_tokens", "insecure_key", "no_preflight", "max_minutes")
            yield reading, TRANSCRIPT
        elif self.only("http", "transcript"):
            yield ("batch", "quantize"), "on models over HTTP"
        elif self.only("transformers", "transcript"):
            yield ("timeout", "concurrency", "insecure_key"), "on models of transformers"


def remark_on_idle_options(arguments: argparse.Namespace, models: Iterable[LanguageModelReference] = ()) -> None:
    """Print a line of progress for the given options that have no effect in this command, with the `models` that it asks."""
    missing = {other: names for other, names in _NEEDED_BY[arguments.dossier_command].items() if not getattr(arguments, other)}
    rules: list[Rule] = [(names, f"without --{other}") for other, names in missing.items()]
    asked = list(models)
    rules += _Kinds(frozenset(model.kind for model in asked)).rules()
    for role, of_models in _OF_ROLE.items():
        texts = getattr(arguments, role, None) or ()
        of_role = [model.kind for model in asked if model.text in ([texts] if isinstance(texts, str) else texts)]
        if _Kinds(frozenset(of_role)).only("transcript"):
            rules.append((of_models, TRANSCRIPT))
    if getattr(arguments, "no_preflight", False):
        rules.append((("price_in", "price_out"), "with --no-preflight, because nothing is measured"))
    said: set[str] = set()
    for names, why in rules:
        idle = [name for name in names if name in arguments.given and name not in said]
        said.update(idle)
        if idle:
            listed = together([f"--{name.replace('_', '-')}" for name in idle])
            print_progress(f"remark: {listed} {'have' if len(idle) > 1 else 'has'} no effect {why}")
