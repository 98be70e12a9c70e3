"""The models of `dossier order`: each with a transcript of its own, whose name says whose answers it holds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit.cli.dossier.language_model_options import access_to
from dmun_audit.knowledge.build import LanguageModelAccess, transcript_beside
from dmun_audit.knowledge.language_models.reference import LanguageModelReference, parse_language_model

LONGEST_HEADER = 10_000  # bytes of a transcript's first line that are read


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


def transcript_for(
    output: Path,
    option: Literal["llm", "vlm"],
    reference: LanguageModelReference,
    *,
    several: bool,
    taken: Collection[Path] = (),
) -> Path:
    """Where the answers of a model are kept.

    A single model has OUTPUT.transcript.jsonl (with `.vlm` before it for images). One of several has the model's name in it too,
    and a digest of its reference: servers of different URLs may have models of one name. A file that holds its answers already is
    used under either name, so that adding a model asks nothing twice. `taken` are the files of the models before it.
    """
    plain = "" if option == "llm" else f".{option}"
    alone = transcript_beside(output, plain)
    among_others = transcript_beside(output, f"{plain}.{slug(reference.model or reference.text)}-{digest(reference.text)[:8]}")
    if among_others.exists() or alone in taken:
        return among_others
    return among_others if several and _model_of(alone) != reference.model else alone


def _model_of(transcript: Path) -> str | None:
    """The model whose answers a transcript holds; None if there is no transcript."""
    try:
        with transcript.open("rb") as stream:
            header = json.loads(stream.readline(LONGEST_HEADER))
    except (OSError, ValueError, RecursionError):
        return None
    return header.get("model") if isinstance(header, dict) else None
