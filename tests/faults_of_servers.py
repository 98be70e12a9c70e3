"""Faults of HTTP servers, by the wordings that they publish: each with the whole dossier, or with the one error that is right."""

import json

from chat_server import delta, events, reply, send, stream
from interview_faults import Fault, changed_text

NEVER = 500  # requests; more than any interview sends

# How a fault comes into a running server.


def once(*faults):
    """The next requests meet these faults, one each."""
    return lambda chat: chat.fail_next(*faults)


def always(fault):
    """Every request meets the fault."""
    return lambda chat: chat.fail_next(*[fault] * NEVER)


def whenever(wrong, fault):
    """Every request whose body is `wrong` meets the fault."""

    def cause(chat):
        chat.gate = lambda body: fault if wrong(body) else None

    return cause


def told(message, status=400, headers=(), **fields):
    """The server says this error, as OpenAI words one."""
    body = json.dumps({"error": {"message": message} | fields}).encode()
    return lambda handler, request: send(handler, body, status, headers)


def said(text, status=200, kind="application/json"):
    """The server says this text."""
    return lambda handler, request: send(handler, text.encode(), status, [("Content-Type", kind)])


def streamed(make, **how):
    """The server streams what `make` makes of the events of its answer."""

    def fault(handler, body):
        parts = events({"content": handler.chat.answer(body)})
        stream(handler, *make(parts), **how)

    return fault


def ended(handler, body):
    """The answer comes without any text, because thinking has used up its tokens."""
    stream(handler, delta(role="assistant"), delta(reasoning_content="Let me think…"), delta("length"), "[DONE]")


def without_schema(refuse):
    """Every request with a JSON schema is refused."""
    return whenever(lambda body: body.get("response_format", {}).get("type") == "json_schema", refuse)


# What is right of a dossier.


def whole(dossier):
    """The dossier holds all that the language model knows."""
    assert dossier.target.label == "a painting by Vincent van Gogh"
    assert len(dossier.concepts) >= 20
    assert len(dossier.adversarial) >= 20


def whole_and_recorded(words):
    """The dossier is whole, and its history says so."""

    def check(dossier):
        whole(dossier)
        assert any(words in sentence for sentence in dossier.provenance.history), dossier.provenance.history

    return check


def whole_and_plain(dossier):
    """The dossier is whole, and nothing is said to be missing at the server."""
    whole(dossier)
    assert not any("server" in sentence for sentence in dossier.provenance.history), dossier.provenance.history


# Conversations too long for a server.


def tokens(body):
    """About how many tokens a question has."""
    return sum(len(turn["content"]) for turn in body["messages"]) // 4


def vllm_of_context(context):
    def refuse(handler, body):
        asked, prompt = body["max_tokens"], tokens(body)
        text = f"This model's maximum context length is {context} tokens. However, you requested {asked + prompt} tokens ({prompt} in "
        text += f"the messages, {asked} in the completion). Please reduce the length of the messages or completion."
        told(text, type="BadRequestError", code=400)(handler, body)

    return whenever(lambda body: tokens(body) + body["max_tokens"] > context, refuse)


def tgi_of_context(context):
    def refuse(handler, body):
        text = f"Input validation error: `inputs` tokens + `max_new_tokens` must be <= {context}. "
        text += f"Given: {tokens(body)} `inputs` tokens and {body['max_tokens']} `max_new_tokens`"
        send(handler, json.dumps({"error": text, "error_type": "validation"}).encode(), 422)

    return whenever(lambda body: tokens(body) + body["max_tokens"] > context, refuse)


def llama_cpp_without_room_for_history(handler, body):
    facts = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": tokens(body), "n_ctx": 512}
    told("the request exceeds the available context size. try increasing the context size or enable context shift", **facts)(
        handler, body
    )


def has_a_long_history(body):
    return len(body["messages"]) > 2 and any(len(turn["content"]) > 400 for turn in body["messages"][2:])


QUOTA = "You exceeded your current quota, please check your plan and billing details."
AZURE = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt."
)
KEEP_ALIVE = b": OPENROUTER PROCESSING\n\n"
PAGE = "<!DOCTYPE html><html><title>Sign in</title></html>"

STREAMS = [
    Fault("a server that does not stream", lambda chat: setattr(chat, "streams", False), whole_and_plain, most_extra=0),
    Fault("a stream that breaks off", once(streamed(lambda parts: parts[:3])), whole_and_plain, most_extra=1),
    Fault("a stream without a mark of its end", always(streamed(lambda parts: parts[:-1])), whole_and_plain, most_extra=0),
    Fault("a stream without usage", always(streamed(lambda parts: [*parts[:-2], "[DONE]"])), whole_and_plain, most_extra=0),
    Fault("a stream of comments first", always(streamed(lambda parts: [KEEP_ALIVE] * 3 + parts)), whole_and_plain, most_extra=0),
    Fault("a stream that is declared to be JSON", always(streamed(list, kind="application/json")), whole_and_plain, most_extra=0),
    Fault(
        "a stream with carriage returns",
        always(
            streamed(
                lambda parts: [f"data: {json.dumps(part) if isinstance(part, dict) else part}\r\n\r\n".encode() for part in parts]
            )
        ),
        whole_and_plain,
        most_extra=0,
    ),
    Fault("an empty stream", once(lambda handler, body: stream(handler, "[DONE]")), whole_and_plain, most_extra=1),
    Fault(
        "a stream of thoughts before the answer (DeepSeek, vLLM)",
        always(streamed(lambda parts: [delta(reasoning_content="Hm {"), delta(reasoning="Well }"), *parts])),
        whole_and_plain,
        most_extra=0,
    ),
    Fault(
        "an error within a stream (vLLM)",
        once(streamed(lambda parts: [*parts[:2], {"error": {"message": "EngineDeadError", "code": 500}}, "[DONE]"])),
        whole_and_plain,
        most_extra=1,
    ),
    Fault(
        "errors within all streams (OpenRouter)",
        always(streamed(lambda parts: [*parts[:2], {"error": {"code": 502, "message": "Provider disconnected"}, "choices": []}])),
        error="Provider disconnected",
        most_requests=5,
    ),
    Fault(
        "streams are refused",
        whenever(lambda body: body.get("stream"), told("Streaming is not supported for this model.")),
        whole_and_plain,
        most_extra=1,
    ),
    Fault(
        "stream_options are refused (FastAPI)",
        whenever(
            lambda body: "stream_options" in body,
            said(
                '{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}',
                422,
            ),
        ),
        whole_and_plain,
        most_extra=1,
    ),
    Fault("a stream longer than the time-out", once(streamed(list, pause=0.25)), whole_and_plain, most_extra=0, timeout=1.2),
    Fault("a silence", once(lambda handler, body: stream(handler, close=False)), whole_and_plain, most_extra=1, timeout=1.2),
    Fault(
        "silences",
        always(lambda handler, body: stream(handler, close=False)),
        error="nothing came within 0.2 s",
        most_requests=2,
        timeout=0.2,
    ),
    Fault(
        "nothing but keep-alives",
        always(lambda handler, body: stream(handler, *[KEEP_ALIVE] * 100, pause=0.05)),
        error="nothing but keep-alives came within 0.4 seconds",
        most_requests=2,
        timeout=0.1,
    ),
]

LENGTHS = [
    Fault("a short context (vLLM)", vllm_of_context(3_200), whole_and_plain),
    Fault("a short context (TGI)", tgi_of_context(3_200), whole_and_plain),
    Fault(
        "a context too short for corrections (llama.cpp)",
        whenever(has_a_long_history, llama_cpp_without_room_for_history),
        whole_and_plain,
    ),
    Fault(
        "a context too short for any question (llama.cpp)",
        always(llama_cpp_without_room_for_history),
        error=r"a question of \d+ tokens is too long for oracle, whose context holds 512",
        most_requests=1,
    ),
    Fault(
        "a context too short for any question (LM Studio)",
        always(
            said(
                '{"error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context '
                'length of only 4096 tokens, which is not enough. Try to load the model with a larger context length."}',
                400,
            )
        ),
        error="a question of 5000 tokens is too long for oracle, whose context holds 4096",
        most_requests=1,
    ),
    Fault(
        "answers of at most 1,000 tokens (OpenAI)",
        whenever(
            lambda body: body["max_tokens"] > 1_000,
            told("max_tokens is too large: 2500. This model supports at most 1000 completion tokens."),
        ),
        whole_and_plain,
        most_extra=1,
    ),
    Fault(
        "credit for short answers (OpenRouter)",
        whenever(
            lambda body: body["max_tokens"] > 3_000,
            told(
                "This request requires more credits, or fewer max_tokens. You requested up to 4000 tokens, but can only afford 3000.",
                402,
            ),
        ),
        whole_and_plain,
    ),
    Fault("thoughts that use up the answer", once(ended), whole_and_plain, most_extra=1),
    Fault(
        "an answer cut off in another word (Mistral)",
        once(streamed(lambda parts: [*parts[:2], delta("model_length"), "[DONE]"])),
        whole_and_plain,
        most_extra=1,
    ),
]

SCHEMAS = [
    Fault(
        "schemas are ignored",
        changed_text("", lambda text: f"```json\n{text}\n```", first_only=False),
        whole_and_recorded("took a JSON schema and did not keep to it"),
        most_extra=0,
    ),
    Fault("an answer in a fence", changed_text("works", lambda text: f"```json\n{text}\n```"), whole_and_plain),
    Fault("a vague 400 to a schema", without_schema(told("Bad Request")), whole_and_recorded("json_schema"), most_extra=1),
    Fault(
        "a vague 500 to a schema",
        without_schema(told("Internal Server Error", 500)),
        whole_and_recorded("json_schema"),
        most_extra=2,
    ),
    Fault("a vague 400 to every form", always(told("Bad Request")), error="Bad Request", most_requests=3),
    Fault(
        "a grammar that fails (llama.cpp)",
        without_schema(told("Failed to initialize samplers: failed to parse grammar")),
        whole_and_recorded("json_schema"),
        most_extra=1,
    ),
    Fault(
        "a grammar that fails as 500 (llama.cpp)",
        without_schema(told("failed to parse grammar", 500, type="server_error")),
        whole_and_recorded("json_schema"),
        most_extra=1,
    ),
    Fault(
        "schemas that xgrammar does not know (vLLM)",
        without_schema(told("The provided JSON schema contains features not supported by xgrammar.")),
        whole_and_recorded("json_schema"),
        most_extra=1,
    ),
    Fault(
        "keywords that a schema may not have (Gemini)",
        whenever(
            lambda body: "additionalProperties" in json.dumps(body.get("response_format", {})),
            said(
                json.dumps(
                    [
                        {
                            "error": {
                                "code": 400,
                                "status": "INVALID_ARGUMENT",
                                "message": "Invalid JSON payload received. "
                                "Unknown name \"additionalProperties\" at 'generation_config.response_schema': Cannot find field.",
                            }
                        }
                    ]
                ),
                400,
            ),
        ),
        whole_and_plain,
        most_extra=1,
    ),
    Fault(
        "neither form of JSON (LM Studio)",
        whenever(
            lambda body: "response_format" in body,
            said("{\"error\": \"'response_format.type' must be 'json_schema' or 'text'\"}", 400),
        ),
        whole_and_recorded("json_schema"),
        most_extra=2,
    ),
    Fault(
        "reasoning models (OpenAI)",
        whenever(
            lambda body: "max_tokens" in body,
            told("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
        ),
        whole_and_plain,
        most_extra=1,
    ),
    Fault(
        "one temperature (OpenAI)",
        whenever(
            lambda body: "temperature" in body,
            told(
                "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.",
                param="temperature",
                code="unsupported_value",
            ),
        ),
        whole_and_recorded("temperature"),
        most_extra=1,
    ),
    Fault(
        "no seed (Mistral)",
        whenever(
            lambda body: "seed" in body,
            said(
                '{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are '
                'not permitted","input":"with json and temperature"}]},"type":"invalid_request_error"}',
                422,
            ),
        ),
        whole_and_recorded("seed"),
        most_extra=1,
    ),
]

PASSING = [
    Fault(
        "a model that is being loaded (llama.cpp)",
        once(*[told("Loading model", 503, code=503)] * 3),
        whole_and_plain,
        most_extra=3,
    ),
    Fault("five times too many requests", once(*[told("Too Many Requests", 429)] * 5), whole_and_plain, most_extra=5),
    Fault(
        "too many requests for ever", always(told("Too Many Requests", 429)), error="did not answer in 7 tries", most_requests=7
    ),
    Fault(
        "an hour to wait (OpenAI)",
        always(told("Rate limit reached for gpt-5 on requests per day. Please try again in 1h0m0s.", 429)),
        error="asks to wait 3600 seconds",
        most_requests=1,
    ),
    Fault(
        "milliseconds to wait (Azure)", once(told("slow down", 429, [("retry-after-ms", "50")])), whole_and_plain, most_extra=1
    ),
    Fault(
        "a limit by the minute in words of a quota (Gemini)",
        once(told(f"{QUOTA} Please retry in 0.05s.", 429, type="RESOURCE_EXHAUSTED")),
        whole_and_plain,
        most_extra=1,
    ),
    Fault(
        "an error with status 200 (OpenRouter)",
        once(said('{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"rate limited upstream"}}}')),
        whole_and_plain,
        most_extra=1,
    ),
    Fault("an overload (Anthropic)", once(told("Overloaded", 529, type="overloaded_error")), whole_and_plain, most_extra=1),
    Fault("a gateway's page", once(said(PAGE, 504, "text/html")), whole_and_plain, most_extra=1),
]

LASTING = [
    Fault(
        "a quota that is used up (OpenAI)",
        always(told(QUOTA, 429, code="insufficient_quota")),
        error="add credit",
        most_requests=1,
    ),
    Fault("no credits (OpenRouter)", always(told("Insufficient credits", 402, code=402)), error="add credit", most_requests=1),
    Fault(
        "no credit (Anthropic)",
        always(told("Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.")),
        error="add credit",
        most_requests=1,
    ),
    Fault(
        "a page to sign in", always(said(PAGE, 200, "text/html")), error="a web page came instead of an answer", most_requests=1
    ),
    Fault(
        "a page that forbids", always(said(PAGE, 403, "text/html")), error="a web page came instead of an answer", most_requests=1
    ),
    Fault(
        "a model that was not pulled (Ollama)",
        always(said('{"error": "model \\"oracle\\" not found, try pulling it first"}', 404)),
        error="ollama pull oracle",
        most_requests=1,
    ),
    Fault(
        "a wrong key as 400 (Gemini)",
        always(told("API key not valid. Please pass a valid API key.")),
        error="DMUN_LLM_API_KEY",
        most_requests=1,
    ),
    Fault(
        "http to a port of https (Go)",
        always(said("Client sent an HTTP request to an HTTPS server.\n", 400, "text/plain")),
        error="speaks https",
        most_requests=1,
    ),
]

FILTERS = [
    Fault(
        "a filtered question (Azure)",
        once(told(AZURE, code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})),
        whole,
    ),
    Fault("a filtered question (OpenAI)", once(told("Your request was rejected as a result of our safety system.")), whole),
    Fault(
        "a filtered question (LiteLLM)",
        once(told(f"litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - {AZURE}", code="400")),
        whole,
    ),
    Fault("a filtered question (Gemini)", once(said('{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}')), whole),
    Fault("a filtered answer (Gemini)", once(lambda handler, body: reply(handler, "", finish_reason="SAFETY")), whole),
    Fault("a filtered answer", once(lambda handler, body: reply(handler, '{"it', finish_reason="content_filter")), whole),
]

FAULTS = [*STREAMS, *LENGTHS, *SCHEMAS, *PASSING, *LASTING, *FILTERS]
