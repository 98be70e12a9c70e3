"""What servers write when they refuse a request, as data: each wording with what it means and where it was published.

Wordings are compared in lower case with all that a server said. The first that matches counts, so the narrow ones come first.
Groups named `context`, `prompt`, `asked` and `limit` hold numbers of tokens: what the context holds, what the question takes,
what was asked for as an answer, the most that an answer may have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "content filter",
    "unreadable",
    "quota",
    "key",
    "no such model",
    "no images",
    "prompt",
    "context",
    "answer limit",
    "schema",
    "https",
]


@dataclass(frozen=True)
class Finding:
    """What a server's words mean, with the numbers of tokens in them, by name."""

    kind: Kind
    numbers: Mapping[str, int]


_N = r"(\d[\d,_]*)"


def _tokens(name: str) -> str:
    return rf"(?P<{name}>\d[\d,_]*)"


WORDINGS: tuple[tuple[Kind, str, str], ...] = (
    # The question was refused for what it says.
    (
        "content filter",
        r"content management policy|responsibleaipolicyviolation",
        "Azure OpenAI: learn.microsoft.com, content filtering",
    ),
    ("content filter", r"\bcontent_filter\b|content_policy_violation|moderation_blocked", "OpenAI and Azure: error codes"),
    ("content filter", r"rejected as a result of our safety system", "OpenAI: openai-python issue 331 and error codes of images"),
    ("content filter", r"flagged as potentially violating our usage policy", "OpenAI reasoning models: code invalid_prompt"),
    ("content filter", r"prohibited_content|blocklist|block_?reason", "Gemini: ai.google.dev, safety settings"),
    ("content filter", r"contentpolicyviolationerror", "LiteLLM: docs.litellm.ai, exception mapping"),
    ("content filter", r"requires moderation|input was flagged", "OpenRouter: openrouter.ai/docs, errors (403)"),
    ("content filter", r"content exists risk", "DeepSeek: api-docs.deepseek.com"),
    ("content filter", r"data_?inspection_?failed|inappropriate content", "Alibaba Model Studio: error messages"),
    # The model's own output could not be read by its server.
    (
        "unreadable",
        r"model produced output that does not match|failed to parse (?:the )?(?:model )?output",
        "llama.cpp: common/chat",
    ),
    # Money and keys: no later try helps.
    ("answer limit", rf"fewer max_tokens.*can only afford {_tokens('limit')}", "OpenRouter, status 402: continue issue 11154"),
    ("quota", r"insufficient_quota|insufficient (?:balance|credits|funds)", "OpenAI, DeepSeek: error codes"),
    ("quota", r"credit balance is too low", "Anthropic: claude-code issue 66314"),
    (
        "quota",
        r"requires more credits|add more credits|billing_not_active|account is not active",
        "OpenRouter, OpenAI: error codes",
    ),
    (
        "quota",
        r"exceeded your current quota(?!.*retry in)",
        'OpenAI; Gemini says so of limits by the minute too, with "retry in"',
    ),
    ("quota", r"exceeded your monthly included credits|budget has been exceeded|budgetexceedederror", "Hugging Face, LiteLLM"),
    ("key", r"api key not valid|invalid api key|incorrect api key|api_key_invalid", "Gemini (status 400), OpenAI"),
    ("https", r"http request to an? https server|plain http request was sent to https port", "Go's net/http; nginx"),
    # What the model is.
    ("no such model", r"model .{1,200}not found, try pulling it", "Ollama: ollama-python issue 149"),
    (
        "no such model",
        r"model .{1,200}(?:does not exist|not found)|model_not_found|is not a valid model id",
        "vLLM, OpenAI, OpenRouter",
    ),
    (
        "no images",
        r"image input is not supported|does not support image|not a multimodal model|no endpoints found that support image",
        "llama.cpp (mmproj), vLLM, OpenRouter",
    ),
    # The schema of the answer.
    ("schema", r"invalid schema for response_format", "OpenAI: structured outputs"),
    ("schema", r"unknown name .*(?:response_schema|response_format|json_schema)", "Gemini: claude-code-router issue 187"),
    (
        "schema",
        r"failed to parse grammar|grammar.*(?:error|invalid|fail)|failed to initialize samplers",
        "llama.cpp: tools/server",
    ),
    ("schema", r"features not supported by xgrammar|guided_json|structured_outputs|guided decoding", "vLLM: issue 26421"),
    ("schema", r"response_format.?type.{0,4} must be", "LM Studio: bug tracker issue 169"),
    ("schema", r"failed to generate json|json_validate_failed", "Groq: console.groq.com, structured outputs"),
    # The question and its answer are longer than the context. Both numbers, if they are there.
    (
        "context",
        rf"maximum context length is {_tokens('context')} tokens.*?requested (?:about )?{_N} tokens \({_tokens('prompt')} "
        rf"(?:in the messages|in your prompt|of text input)[,;] {_tokens('asked')}",
        "OpenAI, vLLM (issue 20409), DeepSeek, OpenRouter",
    ),
    (
        "context",
        rf"max_?tokens.*?too large: {_tokens('asked')}.*?maximum context length is {_tokens('context')} tokens and your "
        rf"request has {_tokens('prompt')} input tokens",
        "vLLM: entrypoints/openai",
    ),
    (
        "context",
        rf"maximum context length is {_tokens('context')} tokens.*?your request has {_tokens('prompt')} input tokens plus "
        rf"{_tokens('asked')}",
        "vLLM: pull request 33425",
    ),
    (
        "prompt",
        rf"maximum context length is {_tokens('context')} tokens.*?(?:your request has|messages resulted in|requested "
        rf"(?:about )?{_N} tokens \() ?{_tokens('prompt')} (?:input )?tokens",
        "vLLM, OpenAI, LiteLLM (ContextWindowExceededError)",
    ),
    (
        "prompt",
        rf"maximum context length is {_tokens('context')} tokens.*?requested (?:about )?{_N} tokens \({_tokens('prompt')} of text "
        r"input\)",
        "OpenRouter: refly issue 1177",
    ),
    (
        "context",
        rf"max_new_tokens. must be <= {_tokens('context')}\. given: {_tokens('prompt')} .inputs. tokens and {_tokens('asked')}",
        "TGI and Together: chat-ui issue 1149",
    ),
    ("context", r"inputs. tokens \+ .max_new_tokens. must be <=", "TGI"),
    ("prompt", rf"inputs. must have less than {_tokens('context')} tokens\. given: {_tokens('prompt')}", "TGI: issue 695"),
    (
        "prompt",
        rf"request \({_tokens('prompt')} tokens\) exceeds the available context size \({_tokens('context')} tokens\)",
        "llama.cpp",
    ),
    ("prompt", r"exceeds the available context size|exceed_context_size_error", "llama.cpp: pull request 15780"),
    ("prompt", rf"requested tokens \({_tokens('prompt')}\) exceed context window of {_tokens('context')}", "llama-cpp-python"),
    (
        "prompt",
        rf"keep the first {_tokens('prompt')} tokens when.*context length of only {_tokens('context')} tokens",
        "LM Studio: bug tracker issue 546",
    ),
    ("prompt", rf"n_keep: {_tokens('prompt')}\s?>= n_ctx: {_tokens('context')}", "LM Studio: openclaude issue 353"),
    ("prompt", rf"prompt is too long: {_tokens('prompt')} tokens > {_tokens('context')} maximum", "Anthropic"),
    ("context", rf"exceed context limit: {_tokens('prompt')} \+ {_tokens('asked')} > {_tokens('context')}", "Anthropic"),
    (
        "prompt",
        rf"input token count \(?{_tokens('prompt')}\)? exceeds the maximum number of tokens allowed \(?{_tokens('context')}",
        "Gemini",
    ),
    (
        "prompt",
        rf"input \({_tokens('prompt')} tokens\) is longer than the model.s context length \({_tokens('context')} tokens",
        "SGLang",
    ),
    ("prompt", rf"prompt contains {_tokens('prompt')} tokens.*too large for model with {_tokens('context')} maximum", "Mistral"),
    ("prompt", rf"input tokens exceed the configured limit of {_tokens('context')} tokens", "OpenAI: litellm issue 18927"),
    ("prompt", r"max_tokens must be at least 1, got -", "vLLM: issue 4667"),
    # The answer asked for is longer than any may be.
    ("answer limit", rf"max_tokens: {_tokens('asked')} > {_tokens('limit')}, which is the maximum", "Anthropic"),
    ("answer limit", rf"(?:supports )?at most {_tokens('limit')} completion tokens", "OpenAI"),
    ("answer limit", rf"valid range of max_tokens is \[\d+, {_tokens('limit')}\]", "DeepSeek, Alibaba"),
    # The same in words not listed here.
    (
        "context",
        r"context(?:_| )?(?:length|window|size)|contextwindowexceeded|(?=.*context)(?=.*(?:length|tokens))",
        "any server",
    ),
    (
        "answer limit",
        r"(?=.*(?:max_(?:completion_|new_|output_)?tokens|completion tokens))(?=.*(?:too large|at most|range|less than|maximum|exceed))",
        "any server",
    ),
)
_COMPILED = [(kind, re.compile(pattern, re.DOTALL)) for kind, pattern, _ in WORDINGS]
_FIELDS = {"n_prompt_tokens": "prompt", "n_ctx": "context"}  # llama.cpp's fields beside its message

PARAMETERS = (
    "stream_options",
    "seed",
    "temperature",
    "strict",
)  # that a request can do without, if a server's message names them
STREAM = re.compile(r"\bstream(?:ing)?\b(?!_)")
PLAINER = re.compile(r"response_format|schema|json|strict|grammar|text\.format")  # a message about the form of answers


def finding(words: str, fields: Mapping[str, Any]) -> Finding | None:
    """What a server's words mean; None if no known wording is among them. `fields` are the integers beside its message."""
    for kind, pattern in _COMPILED:
        match = pattern.search(words)
        if match:
            numbers = {name: int(re.sub(r"\D", "", value)) for name, value in match.groupdict().items() if value}
            beside = {_FIELDS[name]: value for name, value in fields.items() if name in _FIELDS}
            return Finding(kind, beside | numbers)
    return None
