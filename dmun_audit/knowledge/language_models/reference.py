"""The language model that `--llm`, `--vlm`, `--knowledge` or a `vlm:` detector names. Parsing opens no connection."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.knowledge.language_models.additions import Additions
from dmun_audit.knowledge.language_models.api_key import OWN_VARIABLE, VARIABLES, VLM_VARIABLE, ApiKey, require_safe_transport
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.near_references import near_reference
from dmun_audit.knowledge.language_models.protocol import LanguageModel, Settings
from dmun_audit.knowledge.language_models.providers import PROVIDERS, Api, place_of, provider_of_url
from dmun_audit.knowledge.language_models.registered import open_registered, registered_language_models

KINDS = (
    f"SERVER:MODEL, such as ollama:llama3.1 ({', '.join(PROVIDERS)}), URL#MODEL "
    "(http://localhost:8000/v1#meta-llama/Llama-3.1-8B-Instruct), transformers:PATH-OR-ID, transcript:PATH, "
    "or NAME:REST of an installed extension"
)


@dataclass(frozen=True)
class LanguageModelReference:
    """A language model as the user named it.

    `kind` is "http", "transformers", "transcript" or the name of an extension. `place` is the URL, the folder or hub id, the path
    of the transcript, or the text that the extension interprets. `model` is the model's name, "" for a transcript and for the only
    model of a server. `provider` is the short name of the server, "" if the user gave a URL; `query` are parameters of its URL.
    """

    text: str
    kind: str
    place: str
    model: str
    provider: str = ""
    api: Api = "chat completions"
    query: tuple[tuple[str, str], ...] = ()


def names_language_model(text: str) -> bool:
    """Whether `text` has the form of a language model's reference rather than a dossier's."""
    kind, colon, _ = text.partition(":")
    return bool(colon) and (kind in _PARSERS or kind in PROVIDERS or kind in registered_language_models())


def parse_language_model(text: str) -> LanguageModelReference:
    """The language model that `text` names. Raises UsageError if it names none."""
    kind, colon, rest = text.partition(":")
    if rest and kind in _PARSERS:
        return _PARSERS[kind](text, rest)
    extensions = registered_language_models()
    if colon and kind in PROVIDERS:
        if kind in extensions:
            raise UsageError(
                f"{kind!r} is the name of a built-in server and of an installed extension",
                f"the extension is {extensions[kind].value}",
                "name the server by its URL (URL#MODEL), or ask the authors of the extension for another name",
            )
        return _parse_provider(text, rest)
    if rest and kind in extensions:
        return LanguageModelReference(text, kind, rest, rest)
    guess = close_kind(text).strip()
    if guess:
        raise UsageError(f"{text!r} names no language model", "", guess)
    installed = f" (installed: {', '.join(sorted(extensions))})" if extensions else ""
    raise UsageError(f"{text!r} names no language model", "", f"use {KINDS}{installed}")


def close_kind(text: str) -> str:
    """The words "did you mean REFERENCE? " if `text` resembles the reference of a language model, or ""."""
    near = near_reference(text, [*_PARSERS, *PROVIDERS, *registered_language_models()])
    return f"did you mean {near}? " if near else ""


def open_language_model(
    reference: LanguageModelReference, settings: Settings, additions: Additions | None = None
) -> LanguageModel | None:
    """The model that the reference names; None for a transcript, which needs no model.

    `additions` go with every request over HTTP. A server that is named without a model is asked which one it has. Raises UsageError
    if the model cannot be opened. Weights and other connections are opened by the first question.
    """
    additions = Additions() if additions is None else additions
    if reference.kind == "transcript":
        return None
    if reference.kind == "http":
        from dmun_audit.knowledge.language_models.over_http.client import ChatCompletions

        endpoint = endpoint_of(reference, additions)
        if not endpoint.model:
            from dmun_audit.knowledge.language_models.server_facts import only_model

            endpoint = replace(endpoint, model=only_model(endpoint))
        return ChatCompletions(endpoint, settings)
    if additions.any:
        raise UsageError(
            f"{reference.text} takes no options, headers or query", "they go with requests over HTTP", "leave them out"
        )
    if reference.kind == "transformers":
        from dmun_audit.knowledge.language_models.local import TransformersModel

        return TransformersModel(reference.place, settings)
    return open_registered(reference.kind, reference.place, settings)


def endpoint_of(reference: LanguageModelReference, additions: Additions) -> Endpoint:
    """How the model of an "http" reference is asked, with the key of the environment.

    Raises UsageError for a key that cannot be sent, or that would be sent unencrypted.
    """
    named = PROVIDERS.get(reference.provider)
    known = named or provider_of_url(reference.place)
    own = (VLM_VARIABLE, OWN_VARIABLE) if additions.sees_images else (OWN_VARIABLE,)
    variables = (*own, *(known.key_variables if known else ()), *(() if named else VARIABLES[1:]))
    key = ApiKey.from_environment(
        tuple(dict.fromkeys(variables)), known.key_header if known else "Authorization", additions.secrets
    )
    if any(name.casefold() == key.header.casefold() for name in additions.headers):
        key = replace(key, value="")  # the user's own header takes its place
    require_safe_transport(reference.place, key, additions.insecure_key)
    return Endpoint(
        reference.place,
        reference.model,
        api=reference.api,
        provider=reference.provider,
        key=key,
        headers=additions.headers,
        query={**dict(reference.query), **additions.query},
        options=additions.options,
    )


def _parse_transformers(text: str, rest: str) -> LanguageModelReference:
    return LanguageModelReference(text, "transformers", rest, rest)


def _parse_provider(text: str, rest: str) -> LanguageModelReference:
    provider = PROVIDERS[text.partition(":")[0]]
    model = rest.strip()
    if not model and provider.name == "azure":
        raise UsageError(f"{text} does not say which deployment to ask", "", "write azure:DEPLOYMENT")
    place = place_of(provider, model)
    return LanguageModelReference(text, "http", place.url, model, provider.name, provider.api, tuple(place.query.items()))


def _parse_transcript(text: str, rest: str) -> LanguageModelReference:
    if not os.path.isfile(expanded(rest, text)):
        raise UsageError(f"{text} names no file", f"{rest} does not exist", "give a transcript that `dossier build` wrote")
    return LanguageModelReference(text, "transcript", rest, "")


def _parse_url(text: str, rest: str) -> LanguageModelReference:
    url, _, model = text.partition("#")
    if not rest.startswith("//"):
        raise UsageError(f"{text!r} names no language model", "", f"use {KINDS}")
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
    url = url.rstrip("/")
    api: Api = "responses" if url.endswith("/responses") else "chat completions"
    place = url.removesuffix("/responses").removesuffix("/chat/completions")
    return LanguageModelReference(text, "http", place, model.strip(), api=api)


_PARSERS: dict[str, Callable[[str, str], LanguageModelReference]] = {
    "http": _parse_url,
    "https": _parse_url,
    "transformers": _parse_transformers,
    "transcript": _parse_transcript,
}
