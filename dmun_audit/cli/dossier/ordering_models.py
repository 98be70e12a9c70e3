"""The models of `dossier order`: each with a transcript of its own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.cli.dossier.language_model_options import access_to
from dmun_audit.cli.dossier.transcripts import transcript_for
from dmun_audit.knowledge.build import LanguageModelAccess
from dmun_audit.knowledge.language_models.reference import LanguageModelReference, parse_language_model


@dataclass(frozen=True)
class OrderingModel:
    """A model that shall order the concepts: by what it knows (llm), or by images that it sees (vlm)."""

    option: Literal["llm", "vlm"]
    access: LanguageModelAccess

    @property
    def named(self) -> str:
        """The option as the user gave it: "--llm=URL#MODEL"."""
        return f"--{self.option}={self.access.reference.text}"


def ordering_models(arguments: argparse.Namespace, output: Path) -> list[OrderingModel]:
    """The models that `--llm` and `--vlm` name, in that order. Raises UsageError for a reference to no model, or one given twice."""
    return [*_of_option(arguments, output, "llm"), *_of_option(arguments, output, "vlm")]


def _of_option(arguments: argparse.Namespace, output: Path, option: Literal["llm", "vlm"]) -> Iterator[OrderingModel]:
    references = [parse_language_model(text) for text in getattr(arguments, option) or ()]
    seen: dict[str, LanguageModelReference] = {}
    for reference in references:
        name = reference.model or reference.text
        if name in seen:
            raise UsageError(
                f"--{option} names the same model twice: {seen[name].text} and {reference.text}",
                "a dossier holds one ordering of each source and model",
                "leave one out",
            )
        seen[name] = reference
    for reference in references:
        path = transcript_for(output, option, reference, several=len(references) > 1)
        yield OrderingModel(option, access_to(arguments, reference, path, option))
