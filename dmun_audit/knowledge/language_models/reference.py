"""The language model that `--llm`, `--vlm`, `--knowledge` or a `vlm:` detector names. Parsing opens no connection."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import urlsplit

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.knowledge.language_models.api_key import ApiKey
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.protocol import LanguageModel, Settings
from dmun_audit.knowledge.language_models.registered import open_registered, registered_language_models

KINDS = (
    "URL#MODEL (http://localhost:8000/v1#meta-llama/Llama-3.1-8B-Instruct), transformers:PATH-OR-ID, transcript:PATH, "
    "or NAME:REST of an installed extension"
)


@dataclass(frozen=True)
class LanguageModelReference:
    """A language model as the user named it.

    `kind` is "http", "transformers", "transcript" or the name of an extension. `place` is the URL, the folder or hub id, the path
    of the transcript, or the text that the extension interprets. `model` is the model's name, "" for a transcript.
    """

    text: str
    kind: str
    place: str
    model: str


def names_language_model(text: str) -> bool:
    """Whether `text` has the form of a language model's reference rather than a dossier's."""
    kind, colon, _ = text.partition(":")
    return bool(colon) and (kind in _PARSERS or kind in registered_language_models())


def parse_language_model(text: str) -> LanguageModelReference:
    """The language model that `text` names. Raises UsageError if it names none."""
    kind, _, rest = text.partition(":")
    if rest and kind in _PARSERS:
        return _PARSERS[kind](text, rest)
    extensions = registered_language_models()
    if rest and kind in extensions:
        return LanguageModelReference(text, kind, rest, rest)
    installed = f" (installed: {', '.join(sorted(extensions))})" if extensions else ""
    raise UsageError(f"{text!r} names no language model", "", f"{close_kind(text)}use {KINDS}{installed}")


def close_kind(text: str) -> str:
    """The words "did you mean KIND:…? " if the start of `text` resembles a kind of language model, or ""."""
    kinds = [*_PARSERS, *registered_language_models()]
    close = get_close_matches(text.partition(":")[0], kinds, n=1)
    return f"did you mean {close[0]}:…? " if close else ""


def open_language_model(reference: LanguageModelReference, settings: Settings) -> LanguageModel | None:
    """The model that the reference names; None for a transcript, which needs no model.

    Raises UsageError if the model cannot be opened. Weights and connections are opened by the first question.
    """
    if reference.kind == "transcript":
        return None
    if reference.kind == "http":
        from dmun_audit.knowledge.language_models.http import ChatCompletions

        return ChatCompletions(Endpoint(reference.place, reference.model, key=ApiKey.from_environment()), settings)
    if reference.kind == "transformers":
        from dmun_audit.knowledge.language_models.local import TransformersModel

        return TransformersModel(reference.place, settings)
    return open_registered(reference.kind, reference.place, settings)


def _parse_transformers(text: str, rest: str) -> LanguageModelReference:
    return LanguageModelReference(text, "transformers", rest, rest)


def _parse_transcript(text: str, rest: str) -> LanguageModelReference:
    if not os.path.isfile(expanded(rest, text)):
        raise UsageError(f"{text} names no file", f"{rest} does not exist", "give a transcript that `dossier build` wrote")
    return LanguageModelReference(text, "transcript", rest, "")


def _parse_url(text: str, rest: str) -> LanguageModelReference:
    url, _, model = text.partition("#")
    if not rest.startswith("//"):
        raise UsageError(f"{text!r} names no language model", "", f"use {KINDS}")
    if not model.strip():
        raise UsageError(f"{text} does not say which model to ask", "#MODEL is missing after the URL", f"use {KINDS}")
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
    return LanguageModelReference(text, "http", url.rstrip("/").removesuffix("/chat/completions"), model.strip())


_PARSERS: dict[str, Callable[[str, str], LanguageModelReference]] = {
    "http": _parse_url,
    "https": _parse_url,
    "transformers": _parse_transformers,
    "transcript": _parse_transcript,
}
