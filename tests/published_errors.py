"""Errors as servers publish them: (server, status, reply, what the next request has or the error says).

The sources stand beside the wordings in `dmun_audit/knowledge/language_models/over_http/error_wordings.py`.
"""


def openai(message, **fields):
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | fields}


def litellm(kind, message):
    return openai(f"litellm.{kind}: litellm.BadRequestError: {kind}: OpenAIException - {message}", code="400")


SHORTER = [
    (
        "OpenRouter, of a provider behind it",
        400,
        openai(
            "Provider returned error",
            code=400,
            metadata={
                "raw": '{"error": {"message": "This model\'s maximum context length is 2048 tokens. However, you requested 2900 tokens '
                '(900 in the messages, 2000 in the completion)."}}',
                "provider_name": "P",
            },
        ),
        1_148,
    ),
    (
        "vLLM",
        400,
        openai(
            "This model's maximum context length is 2048 tokens. However, you requested 2900 tokens (900 in the messages, "
            "2000 in the completion). Please reduce the length of the messages or completion.",
            code=400,
        ),
        1_148,
    ),
    (
        "vLLM, newer",
        400,
        openai(
            "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 2048 "
            "tokens and your request has 900 input tokens (2000 > 2048 - 900).",
            code=400,
        ),
        1_148,
    ),
    (
        "vLLM, newest",
        400,
        openai(
            "This model's maximum context length is 2048 tokens. However, your request has 900 input tokens plus 2000 "
            "'max_tokens'. Please reduce one or the other. (parameter=input_tokens, max_tokens, value=(900, 2000))",
            code=400,
        ),
        1_148,
    ),
    (
        "OpenAI, older",
        400,
        openai(
            "This model's maximum context length is 4097 tokens, however you requested 5000 tokens (3000 in your prompt;"
            " 2000 for the completion). Please reduce your prompt; or completion length.",
            code="context_length_exceeded",
        ),
        1_097,
    ),
    (
        "DeepSeek",
        400,
        openai(
            "This model's maximum context length is 131072 tokens. However, you requested 131134 tokens (129942 in the "
            "messages, 1192 in the completion).",
            code="invalid_request_error",
        ),
        1_130,
    ),
    (
        "OpenRouter",
        400,
        openai(
            "This endpoint's maximum context length is 8192 tokens. However, you requested about 9330 tokens (7330 of text "
            'input, 2000 in the output). Please reduce the length of either one, or use the "middle-out" transform.',
            code=400,
        ),
        862,
    ),
    (
        "TGI",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 900 `inputs` tokens and 2000 "
            "`max_new_tokens`",
            "error_type": "validation",
        },
        1_148,
    ),
    (
        "Together",
        422,
        openai(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 3000 `inputs` tokens and "
            "2000 `max_new_tokens`"
        ),
        1_097,
    ),
    (
        "Anthropic",
        400,
        openai(
            "input length and `max_tokens` exceed context limit: 199000 + 2000 > 200000, decrease input length or "
            "`max_tokens` and try again"
        ),
        1_000,
    ),
    ("Anthropic, answers", 400, openai("max_tokens: 2000 > 1500, which is the maximum allowed number of output tokens"), 1_500),
    (
        "OpenAI, answers",
        400,
        openai(
            "max_tokens is too large: 2000. This model supports at most 1500 completion tokens, whereas you provided 2000.",
            param="max_tokens",
        ),
        1_500,
    ),
    ("DeepSeek, answers", 400, openai("Invalid max_tokens value, the valid range of max_tokens is [1, 1500]"), 1_500),
    (
        "OpenRouter, credit",
        402,
        openai(
            "This request requires more credits, or fewer max_tokens. You requested up to 2000 tokens, but can "
            "only afford 1234. To increase, visit https://openrouter.ai/settings/credits",
            code=402,
        ),
        1_234,
    ),
    ("LiteLLM", 400, litellm("ContextWindowExceededError", "too many"), 1_000),
    (
        "numbers that would fit",
        400,
        openai("This model's maximum context length is 8192 tokens. However, you requested 9330 tokens (1330 in the messages)."),
        1_000,
    ),
    (
        "a limit that was kept",
        400,
        openai("max_tokens is too large: 8000. This model supports at most 4096 completion tokens."),
        1_000,
    ),
    ("a limit without its number", 400, openai("max_completion_tokens is too large: 8000"), 1_000),
]

LESS_HISTORY = [
    (
        "vLLM",
        400,
        openai(
            "This model's maximum context length is 2048 tokens. However, your request has 3000 input tokens. Please reduce the "
            "length of the input messages. (parameter=input_tokens, value=3000)",
            code=400,
        ),
    ),
    (
        "vLLM, both",
        400,
        openai(
            "This model's maximum context length is 2048 tokens. However, you requested 5000 tokens (3000 in the messages, "
            "2000 in the completion).",
            code=400,
        ),
    ),
    (
        "OpenAI",
        400,
        openai(
            "This model's maximum context length is 2048 tokens. However, your messages resulted in 3000 tokens. Please reduce "
            "the length of the messages.",
            code="context_length_exceeded",
        ),
    ),
    (
        "LiteLLM",
        400,
        litellm(
            "ContextWindowExceededError",
            "This model's maximum context length is 2048 tokens. However, your request has "
            "3000 input tokens. Please reduce the length of the input messages.",
        ),
    ),
    (
        "TGI",
        422,
        {"error": "Input validation error: `inputs` must have less than 2048 tokens. Given: 3000", "error_type": "validation"},
    ),
    (
        "llama.cpp, first",
        500,
        openai(
            "the request exceeds the available context size. try increasing the context size or enable context shift",
            code=500,
            type="exceed_context_size_error",
            n_prompt_tokens=3000,
            n_ctx=2048,
        ),
    ),
    (
        "llama.cpp",
        400,
        openai(
            "request (3000 tokens) exceeds the available context size (2048 tokens), try increasing it",
            code=400,
            type="exceed_context_size_error",
            n_prompt_tokens=3000,
            n_ctx=2048,
        ),
    ),
    (
        "llama.cpp, status 200",
        200,
        openai(
            "the request exceeds the available context size. try increasing the context size or enable context shift",
            code=400,
            type="exceed_context_size_error",
            n_prompt_tokens=3000,
            n_ctx=2048,
        ),
    ),
    ("llama-cpp-python", 500, openai("Requested tokens (3000) exceed context window of 2048", type="internal_server_error")),
    (
        "LM Studio",
        400,
        {
            "error": "Trying to keep the first 3000 tokens when context the overflows. However, the model is loaded with context "
            "length of only 2048 tokens, which is not enough. Try to load the model with a larger context length, or provide a shorter input"
        },
    ),
    (
        "LM Studio, newer",
        400,
        {
            "error": "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: "
            "3000>= n_ctx: 2048). Try to load the model with a larger context length, or provide a shorter input."
        },
    ),
    ("Anthropic", 400, openai("prompt is too long: 3000 tokens > 2048 maximum")),
    (
        "Gemini",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (3000) exceeds the maximum number of tokens allowed (2048).",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    (
        "SGLang",
        400,
        {
            "object": "error",
            "message": "The input (3000 tokens) is longer than the model's context length (2048 tokens).",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    (
        "Mistral",
        400,
        {
            "object": "error",
            "message": "Prompt contains 3000 tokens and 0 draft tokens, too large for model with 2048 maximum context length",
            "type": "invalid_request_prompt",
            "code": "3051",
        },
    ),
]

FORMS = [
    ("llama.cpp", 400, openai("Failed to initialize samplers: failed to parse grammar", code=400), "json_object"),
    ("vLLM", 400, openai("The provided JSON schema contains features not supported by xgrammar.", code=400), "json_object"),
    ("vLLM, older", 400, openai("Only one of guided_json, guided_regex and guided_choice is supported"), "json_object"),
    ("LM Studio", 400, {"error": "'response_format.type' must be 'json_schema' or 'text'"}, "json_object"),
    (
        "Groq",
        400,
        openai(
            "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
            code="json_validate_failed",
            failed_generation="",
        ),
        "json_object",
    ),
    ("DeepSeek", 400, openai("This response_format type is unavailable now"), "json_object"),
    ("a server without a word", 400, {}, "json_object"),
]

KEYWORDS = [
    (
        "Gemini",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "status": "INVALID_ARGUMENT",
                    "message": "Invalid JSON payload received. Unknown name "
                    "\"additionalProperties\" at 'generation_config.response_schema.properties[0].value.items': Cannot find field.",
                }
            }
        ],
        "additionalProperties",
    ),
    (
        "OpenAI",
        400,
        openai(
            "Invalid schema for response_format 'answer': In context=('properties', 'items'), 'minItems' is not permitted.",
            param="response_format",
        ),
        "minItems",
    ),
    (
        "OpenAI, lengths",
        400,
        openai(
            "Invalid schema for response_format 'answer': In context=('properties', 'name'), 'maxLength' is not permitted.",
            param="response_format",
        ),
        "maxLength",
    ),
]

LEFT_OUT = [
    (
        "OpenAI",
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        ),
        "temperature",
    ),
    (
        "Gemini",
        400,
        [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'}}],
        "seed",
    ),
    (
        "Mistral",
        422,
        {
            "object": "error",
            "message": {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 1}
                ]
            },
            "type": "invalid_request_error",
            "code": None,
        },
        "seed",
    ),
    (
        "LiteLLM",
        400,
        openai(
            "litellm.UnsupportedParamsError: openai does not support parameters: ['seed'], for model=x. To drop these, set "
            "`litellm.drop_params=True`"
        ),
        "seed",
    ),
    ("Azure", 400, openai("Unrecognized request argument supplied: stream_options"), "stream_options"),
]

REFUSALS = [
    (
        "Azure",
        400,
        openai(
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your "
            "prompt and retry.",
            param="prompt",
            code="content_filter",
            status=400,
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
    ),
    ("OpenAI", 400, openai("Your request was rejected as a result of our safety system.", code="content_policy_violation")),
    (
        "OpenAI, reasoning",
        400,
        openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"),
    ),
    ("Gemini", 400, openai("Request blocked: PROHIBITED_CONTENT", code=400)),
    ("LiteLLM", 400, openai("litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - filtered")),
    (
        "OpenRouter",
        403,
        openai(
            'x/y requires moderation on Z. Your input was flagged for "violence".',
            code=403,
            metadata={"reasons": ["violence"], "flagged_input": "…"},
        ),
    ),
    ("DeepSeek", 400, openai("Content Exists Risk")),
    ("Alibaba", 400, openai("Input data may contain inappropriate content.", code="data_inspection_failed")),
]

LASTING = [
    (
        "OpenAI",
        429,
        openai("You exceeded your current quota, please check your plan and billing details.", code="insufficient_quota"),
        "add credit",
    ),
    (
        "Anthropic",
        400,
        openai("Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."),
        "add credit",
    ),
    (
        "OpenRouter",
        402,
        openai("Insufficient credits. Add more using https://openrouter.ai/settings/credits", code=402),
        "add credit",
    ),
    (
        "OpenRouter, little",
        402,
        openai(
            "This request requires more credits, or fewer max_tokens. You requested up to 2000 tokens, but can only afford 3.",
            code=402,
        ),
        "add credit",
    ),
    ("DeepSeek", 402, openai("Insufficient Balance"), "add credit"),
    (
        "LiteLLM",
        400,
        openai("Budget has been exceeded! Current cost: 10.0, Max budget: 1.0", type="budget_exceeded"),
        "add credit",
    ),
    ("Gemini", 400, openai("API key not valid. Please pass a valid API key.", code=400), "put a valid key"),
    ("Ollama", 404, {"error": 'model "m" not found, try pulling it first'}, "ollama pull m"),
    ("vLLM", 404, openai("The model `m` does not exist.", code=404), "check the model's name"),
    ("OpenRouter, name", 400, openai("m is not a valid model ID", code=400), "check the model's name"),
    (
        "llama.cpp",
        500,
        openai("image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
        "sees images",
    ),
    ("401 without a word", 401, openai("no"), "DMUN_LLM_API_KEY"),
    ("403 without a word", 403, openai("no"), "DMUN_LLM_API_KEY"),
    ("404 without a word", 404, openai("no"), "the model's name"),
    ("a redirect", 302, openai("no"), "redirects are not followed"),
]
