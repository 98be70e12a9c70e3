"""Faults of HTTP servers, by the wordings that they publish: each with the whole dossier, or with the one error that is right."""

import json

from chat_server import reply
from interview_faults import Fault, changed_text
from ways_of_servers import always, once, said, told, whenever, whole, whole_and_plain, whole_and_recorded, without_schema

QUOTA = "You exceeded your current quota, please check your plan and billing details."
AZURE = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt."
)
PAGE = "<!DOCTYPE html><html><title>Sign in</title></html>"

SCHEMAS = [
    Fault(
        "schemas are ignored",
        changed_text("", lambda text: f"```json\n{text}\n```", first_only=False),
        whole_and_plain,
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

FAULTS = [*SCHEMAS, *PASSING, *LASTING, *FILTERS]
