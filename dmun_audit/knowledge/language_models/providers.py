"""Servers and services of language models by the short names that people know: `ollama:llama3.1`, `openai:gpt-…`. Data, and URLs.

A short name stands for a URL, for the variables of the environment that hold another URL and the key, and for the header of the
key. Nothing is opened here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from dmun_audit._util.errors import UsageError

Api = Literal["chat completions", "responses"]


@dataclass(frozen=True)
class Provider:
    """One kind of server or service.

    Attributes:
        name: The short name before the colon.
        title: The name in sentences.
        url: The URL that ends before `/chat/completions`; "" where only a variable can give it.
        url_variables: Variables of the environment that give another URL; the first one that is set counts.
        key_variables: Variables that hold the key, after DMUN_LLM_API_KEY.
        hosts: Names of hosts by which a plain URL is known to lead to this service.
        key_header: The header that carries the key; "Authorization" carries it as a bearer token.
        api: The protocol.
        remedy: What to do if it cannot be reached.
    """

    name: str
    title: str
    url: str
    url_variables: tuple[str, ...]
    key_variables: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    key_header: str = "Authorization"
    api: Api = "chat completions"
    remedy: str = "see whether this machine reaches the internet, perhaps through a proxy (HTTPS_PROXY)"


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider(
            "openai",
            "OpenAI",
            "https://api.openai.com/v1",
            ("OPENAI_BASE_URL",),
            ("OPENAI_API_KEY",),
            hosts=("api.openai.com",),
        ),
        Provider(
            "openai-responses",
            "OpenAI's Responses API",
            "https://api.openai.com/v1",
            ("OPENAI_BASE_URL",),
            ("OPENAI_API_KEY",),
            api="responses",
        ),
        Provider(
            "anthropic",
            "Anthropic",
            "https://api.anthropic.com/v1",
            ("ANTHROPIC_BASE_URL",),
            ("ANTHROPIC_API_KEY",),
            hosts=("api.anthropic.com",),
        ),
        Provider(
            "gemini",
            "Gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            ("GEMINI_BASE_URL",),
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            hosts=("generativelanguage.googleapis.com",),
        ),
        Provider(
            "azure",
            "Azure OpenAI",
            "",
            ("AZURE_OPENAI_ENDPOINT",),
            ("AZURE_OPENAI_API_KEY",),
            hosts=(".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
            key_header="api-key",
        ),
        Provider(
            "openrouter",
            "OpenRouter",
            "https://openrouter.ai/api/v1",
            ("OPENROUTER_BASE_URL",),
            ("OPENROUTER_API_KEY",),
            hosts=("openrouter.ai",),
        ),
        Provider(
            "together",
            "Together",
            "https://api.together.ai/v1",
            ("TOGETHER_BASE_URL",),
            ("TOGETHER_API_KEY",),
            hosts=("api.together.ai", "api.together.xyz"),
        ),
        Provider(
            "litellm",
            "LiteLLM's proxy",
            "http://localhost:4000/v1",
            ("LITELLM_PROXY_API_BASE", "LITELLM_API_BASE"),
            ("LITELLM_PROXY_API_KEY", "LITELLM_API_KEY"),
            remedy="start it with `litellm --config FILE`, or say where it is in LITELLM_PROXY_API_BASE",
        ),
        Provider(
            "ollama",
            "Ollama",
            "http://localhost:11434/v1",
            ("OLLAMA_HOST",),
            ("OLLAMA_API_KEY",),
            hosts=("ollama.com",),
            remedy="start it with `ollama serve`, or say where it is in OLLAMA_HOST",
        ),
        Provider(
            "vllm",
            "vLLM",
            "http://localhost:8000/v1",
            ("VLLM_BASE_URL",),
            ("VLLM_API_KEY",),
            remedy="start it with `vllm serve MODEL`, or say where it is in VLLM_BASE_URL",
        ),
        Provider(
            "llamacpp",
            "llama.cpp's server",
            "http://localhost:8080/v1",
            ("LLAMACPP_BASE_URL",),
            ("LLAMA_API_KEY",),
            remedy="start it with `llama-server -m FILE.gguf`, or say where it is in LLAMACPP_BASE_URL",
        ),
        Provider(
            "lmstudio",
            "LM Studio",
            "http://localhost:1234/v1",
            ("LM_STUDIO_API_BASE",),
            ("LM_STUDIO_API_KEY",),
            remedy="start it with `lms server start`, or say where it is in LM_STUDIO_API_BASE",
        ),
        Provider(
            "tgi",
            "TGI",
            "http://localhost:8080/v1",
            ("TGI_BASE_URL",),
            ("TGI_API_KEY",),
            remedy="start it with `text-generation-launcher --model-id MODEL --port 8080`, or say where it is in TGI_BASE_URL",
        ),
    )
}

_AZURE_VERSIONS = ("OPENAI_API_VERSION", "AZURE_OPENAI_API_VERSION")
_OLLAMA_PORT = 11434
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # OLLAMA_HOST may say where Ollama listens: on every address of its machine


@dataclass(frozen=True)
class Place:
    """Where the model of a provider is asked: the URL, and the parameters after "?" in it."""

    url: str
    query: Mapping[str, str] = field(default_factory=dict)


def place_of(provider: Provider, model: str) -> Place:
    """Where `model` of `provider` is asked, by the environment or by default. Raises UsageError if the environment names no URL."""
    variable = next((name for name in provider.url_variables if os.environ.get(name, "").strip()), "")
    value = os.environ.get(variable, "").strip().rstrip("/")
    if not value:
        if not provider.url:
            names = " or ".join(provider.url_variables)
            remedy = f"set {names}, for instance to https://RESOURCE.openai.azure.com"
            raise UsageError(f"{provider.name}:{model} needs the URL of your own resource", f"{names} is not set", remedy)
        return Place(provider.url)
    if provider.name == "ollama":
        return Place(_ollama_url(value, variable))
    parts = _checked(value, variable)
    if provider.name == "azure":
        return _azure_place(value, parts.path, model)
    return Place(value + ("" if parts.path else urlsplit(provider.url).path))


def provider_of_url(url: str) -> Provider | None:
    """The hosted service that a plain URL leads to, by the name of its host; None for every other URL."""
    host = (urlsplit(url).hostname or "").casefold()
    return next((provider for provider in PROVIDERS.values() if any(_is_host(host, name) for name in provider.hosts)), None)


def _is_host(host: str, name: str) -> bool:
    return host.endswith(name) if name.startswith(".") else host == name


def _checked(value: str, variable: str) -> _Parts:
    """The parts of a URL from the environment. Raises UsageError, without the URL, if it is none or carries credentials."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise UsageError(f"{variable} holds no URL", "", "set it to one such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"the URL in {variable} carries credentials or a query",
            "they would end up in logs and reports",
            "leave them out, and put the key into DMUN_LLM_API_KEY",
        )
    return _Parts(parts.scheme, host, parts.port, parts.path)


@dataclass(frozen=True)
class _Parts:
    scheme: str
    host: str
    port: int | None
    path: str


def _ollama_url(value: str, variable: str) -> str:
    """The URL behind OLLAMA_HOST, which may be a host, a host with a port, or a URL without `/v1`."""
    is_url = "://" in value
    parts = _checked(value if is_url else f"http://{'127.0.0.1' if value.startswith(':') else ''}{value}", variable)
    host = "127.0.0.1" if parts.host in _EVERY_ADDRESS else parts.host
    host = f"[{host}]" if ":" in host else host
    port = parts.port or (None if is_url else _OLLAMA_PORT)
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.removesuffix('/v1')}/v1"


def _azure_place(endpoint: str, path: str, deployment: str) -> Place:
    """Azure's API of a version that the environment names, or else its API v1, which needs no version."""
    version = next((os.environ[name].strip() for name in _AZURE_VERSIONS if os.environ.get(name, "").strip()), "")
    if path.endswith("/openai/v1"):
        return Place(endpoint)
    if version:
        return Place(f"{endpoint}/openai/deployments/{quote(deployment, safe='')}", {"api-version": version})
    return Place(f"{endpoint}/openai/v1")
