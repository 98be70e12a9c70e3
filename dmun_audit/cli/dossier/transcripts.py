"""Where the answers of each language model are kept: the name of a transcript says whose answers it holds."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from dmun_audit._util.hashing import digest, slug
from dmun_audit.knowledge.build import transcript_beside
from dmun_audit.knowledge.language_models.reference import LanguageModelReference

LONGEST_HEADER = 10_000  # bytes of a transcript's first line that are read


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
