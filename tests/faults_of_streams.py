"""Faults of streams, and of servers whose context is short."""

import json

from chat_server import delta, send, stream
from interview_faults import Fault
from ways_of_servers import always, ended, once, said, streamed, told, whenever, whole_and_plain

KEEP_ALIVE = b": OPENROUTER PROCESSING\n\n"


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

FAULTS = [*STREAMS, *LENGTHS]
