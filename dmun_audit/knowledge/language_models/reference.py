"""What `--llm`, `--vlm` and `--knowledge` may say of a language model, decided without a connection and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.protocol import LanguageModel, Settings

LOCAL = "transformers:"
REPLAY = "transcript:"
KINDS = "URL#MODEL (http://localhost:8000/v1#meta-llama/Llama-3.1-8B-Instruct), transformers:PATH-OR-ID, or transcript:PATH"


@dataclass(frozen=True)
class LanguageModelReference:
    """A language model as the user named it: `place` is a URL, a path or hub id, or a transcript's path."""

    text: str
    kind: Literal["http", "transformers", "transcript"]
    place: str
    model: str


def names_language_model(text: str) -> bool:
    """Whether `text` looks like a language model rather than a dossier."""
    return text.startswith((LOCAL, REPLAY, "http://", "https://"))


def parse_language_model(text: str) -> LanguageModelReference:
    """The language model that `text` names. Raises UsageError where it names none."""
    if text.startswith(LOCAL) and text.removeprefix(LOCAL):
        place = text.removeprefix(LOCAL)
        return LanguageModelReference(text, "transformers", place, place)
    if text.startswith(REPLAY) and text.removeprefix(REPLAY):
        place = text.removeprefix(REPLAY)
        if not Path(place).expanduser().is_file():
            raise UsageError(f"{text} names no file", f"{place} does not exist", "give the transcript that a build left behind")
        return LanguageModelReference(text, "transcript", place, "")
    url, _, model = text.partition("#")
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{text!r} names no language model", "", f"use {KINDS}")
    if not model.strip():
        raise UsageError(f"{text} does not say which model to ask", "there is no #MODEL behind the URL", f"use {KINDS}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url} is no URL", str(error), f"use {KINDS}") from None
    if parts.username or parts.password or parts.query:
        raise UsageError(
            "the language model's URL carries credentials or a query",
            "they would end up in logs and reports",
            "leave them out, and put the key into DMUN_LLM_API_KEY",
        )
    if not host:
        raise UsageError(f"{url} is no URL", "it has no host", f"use {KINDS}")
    place = url.rstrip("/").removesuffix("/chat/completions")
    return LanguageModelReference(text, "http", place, model.strip())


def open_language_model(reference: LanguageModelReference, settings: Settings) -> LanguageModel | None:
    """The model that the reference names, opened no further than it must be; None for a transcript, which answers by itself."""
    if reference.kind == "http":
        from dmun_audit.knowledge.language_models.http import ChatCompletions

        return ChatCompletions(reference.place, reference.model, settings)
    if reference.kind == "transformers":
        from dmun_audit.knowledge.language_models.local import TransformersModel

        return TransformersModel(reference.place, settings)
    return None
