"""The one error that a server's last refusal becomes: what it said, and what a person does. Pure functions."""

from __future__ import annotations

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.over_http.connection_faults import speaks_https
from dmun_audit.knowledge.language_models.over_http.error_wordings import Finding
from dmun_audit.knowledge.language_models.over_http.faults import ServerError

RESUME = "Answers so far are kept: the same command goes on from there."
_WHERE = "{where}"  # the variables that may hold the endpoint's key
_BY_STATUS = {
    401: f"put a valid key into {_WHERE}",
    402: "add credit at the provider, or name another model or key",
    403: f"put a key that may use this model into {_WHERE}",
    404: "check the URL (it ends before /chat/completions, often in /v1) and the model's name",
    413: "use a model with a longer context",
}
_BY_KIND = {
    "quota": "add credit or raise the limit at the provider, or name another model or key",
    "key": _BY_STATUS[401],
    "no images": "name a model that sees images for --vlm",
}
_LONGER_CONTEXT = (
    "serve the model with a longer context (llama-server -c, vllm --max-model-len, OLLAMA_CONTEXT_LENGTH, TGI --max-total-tokens), "
    "or name a model that has one"
)


def refusal(endpoint: Endpoint, error: ServerError, found: Finding | None, refused_option: str = "") -> UsageError:
    """The error for a request that the server refuses for good. `refused_option` is an option of the user that it names."""
    what = f"the language model at {endpoint.url} refused the question"
    kind = found.kind if found else ""
    if kind == "https":
        return speaks_https(endpoint.url, error.reason)
    if error.is_page and error.status in {200, 401, 403, 404}:
        why = f"a web page came instead of an answer (status {error.status})"
        remedy = "check the URL; if a proxy or a login stands before the server, sign in or go around it"
        return UsageError(f"the language model at {endpoint.url} did not answer", why, f"{remedy}. {RESUME}")
    if refused_option:
        remedy = f"leave the option {refused_option} out, or give it another value"
        return UsageError(f"{what} with the option {refused_option}", error.reason, f"{remedy}. {RESUME}")
    if found and kind in {"prompt", "context"}:
        return _too_long(endpoint, error, found)
    if 300 <= error.status < 400:
        reason = f"{error.reason}; it points to {error.location or 'nowhere'}"
        remedy = "give the URL of the server itself: redirects are not followed, because they could leak the key"
        return UsageError(what, reason, f"{remedy}. {RESUME}")
    if kind == "no such model":
        pull = f" (ollama pull {endpoint.model})" if "try pulling" in error.words else ""
        what = f"the server at {endpoint.url} does not know the model {endpoint.model!r}"
        return UsageError(what, error.reason, f"name a model that the server has{pull}: check the model's name. {RESUME}")
    remedy = (
        _BY_STATUS[402] if error.status == 402 else _BY_KIND.get(kind, _BY_STATUS.get(error.status, "see the server's message"))
    )
    if kind == "key" or (not kind and error.status in {401, 403}):
        what = f"the server at {endpoint.url} {'did not accept the key' if _sends_key(endpoint) else 'wants a key'}"
    elif not kind and error.status == 404:
        what = f"the server at {endpoint.url} does not know this path or model"
    return UsageError(what, error.reason, f"{remedy.replace(_WHERE, endpoint.key.where)}. {RESUME}")


def _sends_key(endpoint: Endpoint) -> bool:
    own = any(name.casefold() == endpoint.key.header.casefold() for name in endpoint.headers)
    return own or bool(endpoint.key.headers)


def _too_long(endpoint: Endpoint, error: ServerError, found: Finding) -> UsageError:
    prompt, context = found.numbers.get("prompt"), found.numbers.get("context")
    if prompt and context:
        what = f"a question of {prompt} tokens is too long for {endpoint.model}, whose context holds {context}"
    else:
        what = f"a question is too long for the context of {endpoint.model}"
    return UsageError(what, error.reason, f"{_LONGER_CONTEXT}. {RESUME}")
