"""What a server tells about itself: its models, the context of one, its prices. Asked in short requests, each bounded; optional."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.api_key import is_loopback
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.providers import PROVIDERS

if TYPE_CHECKING:
    import httpx  # at run time it is imported by what uses it: the help of a command needs none

_LOG = logging.getLogger(__name__)
SECONDS = 5.0  # of silence, and for one whole request
LARGEST_REPLY = 4_000_000  # bytes; OpenRouter lists some hundred models
MODELS_NAMED = 10  # in an error
_CONTEXT_FIELDS = ("max_model_len", "context_length", "context_window", "loaded_context_length")


@dataclass(frozen=True)
class ServerFacts:
    """What a server tells of one model: `context` in tokens, `price_in` and `price_out` in dollars for a million tokens. None: it
    does not tell."""

    context: int | None = None
    price_in: float | None = None
    price_out: float | None = None


def only_model(endpoint: Endpoint) -> str:
    """The name of the only model of a server. Raises UsageError if it lists none or several, or cannot be reached."""
    with _client(endpoint) as client:
        entries = _entries(_json(client, "GET", f"{endpoint.url}/models"))
    names = sorted({_name(entry) for entry in entries} - {""})
    if len(names) == 1:
        _LOG.info("%s has one model: %s", endpoint.url, names[0])
        return names[0]
    form = f"{endpoint.provider}:MODEL" if endpoint.provider else f"{endpoint.url}#MODEL"
    if not names:
        raise UsageError(
            f"{endpoint.url} does not say which model to ask", "the server lists no models under /models", f"write {form}"
        )
    listed = ", ".join(names[:MODELS_NAMED]) + (f" and {len(names) - MODELS_NAMED} more" if len(names) > MODELS_NAMED else "")
    raise UsageError(f"{endpoint.url} does not say which model to ask", f"the server has {len(names)}: {listed}", f"write {form}")


def require_reachable(endpoint: Endpoint) -> None:
    """Raise UsageError at once if no connection to the server can be made. Whatever it answers is right."""
    with _client(endpoint) as client:
        _json(client, "GET", f"{endpoint.url}/models")


def facts_of(endpoint: Endpoint) -> ServerFacts:
    """What the server tells of its model. A server that cannot be reached tells nothing."""
    try:
        with _client(endpoint) as client:
            entries = _entries(_json(client, "GET", f"{endpoint.url}/models"))
            entry = next((entry for entry in entries if _name(entry) == endpoint.model), {})
            context = next((number for name in _CONTEXT_FIELDS if (number := _count(entry.get(name)))), None)
            context = context or _own_context(client, endpoint, str(entry.get("owned_by", "")))
    except UsageError:
        return ServerFacts()
    return ServerFacts(context, *_prices(entry.get("pricing")))


def _own_context(client: httpx.Client, endpoint: Endpoint, owner: str) -> int | None:
    """The context of the endpoint's model, from requests that only llama.cpp, Ollama, LM Studio or TGI know."""
    if endpoint.provider and PROVIDERS[endpoint.provider].hosts and endpoint.provider != "ollama":
        return None  # a hosted service
    root = endpoint.url.removesuffix("/v1")
    kinds = {"llamacpp": _llamacpp, "ollama": _ollama, "lmstudio": _lmstudio, "tgi": _tgi}
    known = endpoint.provider or {"library": "ollama", "llamacpp": "llamacpp", "organization_owner": "lmstudio"}.get(owner, "")
    if known in kinds:
        return kinds[known](client, root, endpoint.model)
    if endpoint.provider or not is_loopback(endpoint.url):
        return None
    return _llamacpp(client, root, endpoint.model) or _tgi(client, root, endpoint.model)


def _llamacpp(client: httpx.Client, root: str, model: str) -> int | None:
    return _count(_field(_field(_json(client, "GET", f"{root}/props"), "default_generation_settings"), "n_ctx"))


def _ollama(client: httpx.Client, root: str, model: str) -> int | None:
    """The context of a loaded model, or else the one that its Modelfile sets. The most that a model can read says nothing."""
    for entry in _list(_field(_json(client, "GET", f"{root}/api/ps"), "models")):
        if model in {_field(entry, "name"), _field(entry, "model"), str(_field(entry, "name")).removesuffix(":latest")}:
            return _count(_field(entry, "context_length"))
    parameters = _field(_json(client, "POST", f"{root}/api/show", {"model": model}), "parameters")
    found = re.search(r"^num_ctx\s+(\d{1,9})\s*$", parameters, re.MULTILINE) if isinstance(parameters, str) else None
    return int(found[1]) if found else None


def _lmstudio(client: httpx.Client, root: str, model: str) -> int | None:
    return _count(_field(_json(client, "GET", f"{root}/api/v0/models/{model}"), "loaded_context_length"))


def _tgi(client: httpx.Client, root: str, model: str) -> int | None:
    return _count(_field(_json(client, "GET", f"{root}/info"), "max_total_tokens"))


def _prices(pricing: Any) -> tuple[float | None, float | None]:
    """Dollars for a million tokens in and out. OpenRouter lists dollars a token; Together dollars a million tokens."""
    if not isinstance(pricing, Mapping):
        return None, None
    if "prompt" in pricing and "completion" in pricing:
        prices = [_price(pricing["prompt"], 1e6), _price(pricing["completion"], 1e6)]
    else:
        prices = [_price(pricing.get("input"), 1), _price(pricing.get("output"), 1)]
    return (prices[0], prices[1]) if None not in prices else (None, None)


def _price(value: Any, factor: float) -> float | None:
    try:
        price = float(value) * factor
    except (TypeError, ValueError):
        return None
    return price if 0 <= price < 1e5 else None  # OpenRouter's -1 stands for a price that depends


@contextmanager
def _client(endpoint: Endpoint) -> Iterator[httpx.Client]:
    import httpx

    headers = {"User-Agent": "dmun_audit", "Accept-Encoding": "identity", **endpoint.headers, **endpoint.key.headers}
    try:
        with httpx.Client(timeout=SECONDS, headers=headers, params=dict(endpoint.query)) as client:
            yield client
    except httpx.ConnectError as error:
        provider = PROVIDERS.get(endpoint.provider)
        name = provider.title if provider else "the language model"
        remedy = provider.remedy if provider else "start the server, or correct the URL"
        raise UsageError(f"{name} cannot be reached at {endpoint.url}", endpoint.key.hide(str(error)), remedy) from None
    except (OSError, ImportError, ValueError, httpx.InvalidURL) as error:
        reason = endpoint.key.hide(str(error))
        raise UsageError(f"{endpoint.url} cannot be asked", reason, "correct the URL, or the proxy in the environment") from None


def _json(client: httpx.Client, method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON that the server answers; None for an error, a slow answer and anything else. Raises ConnectError and OSError."""
    import httpx

    received = bytearray()
    end = time.monotonic() + SECONDS
    try:
        with client.stream(method, url, json=body) as response:
            for part in response.iter_raw():
                received += part
                if len(received) > LARGEST_REPLY or time.monotonic() > end:
                    return None
            return json.loads(received) if response.status_code == 200 else None
    except httpx.ConnectError:
        raise
    except (httpx.HTTPError, ValueError, RecursionError) as error:
        _LOG.debug("%s tells nothing: %s", url, type(error).__name__)
        return None


def _entries(value: Any) -> list[dict[str, Any]]:
    """The entries of a list of models: `{"data": […]}`, or the list alone."""
    return [entry for entry in _list(_field(value, "data") if isinstance(value, dict) else value) if isinstance(entry, dict)]


def _name(entry: Mapping[str, Any]) -> str:
    name = entry.get("id")
    return name if isinstance(name, str) and len(name) < 300 and name.isprintable() else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else None
