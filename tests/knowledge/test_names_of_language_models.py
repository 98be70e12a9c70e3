"""How a user names a language model: short names of servers beside URLs, the only model of a server, keys and where they may go."""

import json
from dataclasses import replace

import pytest
from chat_server import serving
from installed_packages import install

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.cli import main
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.judge.kinds import parse_judge
from dmun_audit.judge.vlm import VlmNetwork
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.language_models.additions import Additions
from dmun_audit.knowledge.language_models.api_key import is_loopback
from dmun_audit.knowledge.language_models.protocol import Message, Question, Settings
from dmun_audit.knowledge.language_models.providers import PROVIDERS
from dmun_audit.knowledge.language_models.reference import (
    close_kind,
    endpoint_of,
    names_language_model,
    open_language_model,
    parse_language_model,
)
from dmun_audit.knowledge.language_models.registered import GROUP
from dmun_audit.knowledge.language_models.server_facts import MODELS_NAMED

KEY = "sk-very-secret-0123456789"
OTHER_KEY = "sk-quite-another-9876543210"
HELLO = Question((Message("user", "Hello."),), {"type": "object"}, 0.7, 0, 300)


def endpoint(text, **additions):
    return endpoint_of(parse_language_model(text), Additions(**additions))


def ask(text, **additions):
    """Ask the model that `text` names one question."""
    model = open_language_model(parse_language_model(text), Settings(timeout=5), Additions(**additions))
    ((_, answer),) = model.ask([HELLO])
    return answer


@pytest.fixture
def echo():
    """A server that answers every question with "{}"."""
    with serving(lambda body: "{}") as chat:
        yield chat


# Short names.


@pytest.mark.parametrize(
    ("text", "url", "model", "header"),
    [
        ("openai:gpt-x", "https://api.openai.com/v1", "gpt-x", "Authorization"),
        ("openai-responses:gpt-x", "https://api.openai.com/v1", "gpt-x", "Authorization"),
        ("anthropic:claude-x", "https://api.anthropic.com/v1", "claude-x", "Authorization"),
        ("gemini:gemini-x", "https://generativelanguage.googleapis.com/v1beta/openai", "gemini-x", "Authorization"),
        ("ollama:llama3.1:8b", "http://localhost:11434/v1", "llama3.1:8b", "Authorization"),
        ("openrouter:vendor/model", "https://openrouter.ai/api/v1", "vendor/model", "Authorization"),
        ("litellm:some", "http://localhost:4000/v1", "some", "Authorization"),
        ("vllm:meta-llama/Llama-3.1-8B", "http://localhost:8000/v1", "meta-llama/Llama-3.1-8B", "Authorization"),
        ("llamacpp:any", "http://localhost:8080/v1", "any", "Authorization"),
        ("lmstudio:any", "http://localhost:1234/v1", "any", "Authorization"),
        ("together:vendor/model", "https://api.together.ai/v1", "vendor/model", "Authorization"),
        ("tgi:any", "http://localhost:8080/v1", "any", "Authorization"),
    ],
)
def test_a_short_name_stands_for_a_url(text, url, model, header):
    assert names_language_model(text)
    made = endpoint(text)
    assert (made.url, made.model, made.key.header) == (url, model, header)
    assert made.api == ("responses" if text.startswith("openai-responses") else "chat completions")


@pytest.mark.parametrize("name", sorted({*PROVIDERS} - {"azure", "openai-responses", "ollama"}))
def test_a_variable_names_another_url_and_the_key_is_that_of_the_server(name, echo, monkeypatch):
    provider = PROVIDERS[name]
    monkeypatch.setenv(provider.url_variables[0], echo.url)
    monkeypatch.setenv("OPENAI_API_KEY", OTHER_KEY)
    monkeypatch.setenv(provider.key_variables[0], KEY)
    assert ask(f"{name}:some/model").text == "{}"
    assert echo.requests[0]["model"] == "some/model"
    assert echo.headers[0]["Authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("DMUN_LLM_API_KEY", "sk-own-0123456789")
    ask(f"{name}:some/model")
    assert echo.headers[1]["Authorization"] == "Bearer sk-own-0123456789"


@pytest.mark.parametrize("name", sorted({*PROVIDERS} - {"azure", "openai", "openai-responses"}))
def test_a_server_does_not_get_the_key_of_openai(name, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert endpoint(f"{name}:m").key.value == ""


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1:9999", "http://127.0.0.1:9999/v1"),
        ("0.0.0.0:9999", "http://127.0.0.1:9999/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        (":9999", "http://127.0.0.1:9999/v1"),
        ("gpu-box", "http://gpu-box:11434/v1"),
        ("https://gpu-box/ollama/", "https://gpu-box/ollama/v1"),
        ("http://gpu-box:9999/v1", "http://gpu-box:9999/v1"),
        ("[::1]:9999", "http://[::1]:9999/v1"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(host, url, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert endpoint("ollama:m").url == url


def test_ollama_is_asked_where_its_variable_says(echo, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", echo.url.removeprefix("http://").removesuffix("/v1"))
    assert ask("ollama:llama3.1").text == "{}"


def test_azure_needs_its_resource_and_takes_its_version_and_header(monkeypatch):
    with pytest.raises(UsageError, match=r"azure:gpt needs the URL of your own resource[\s\S]*AZURE_OPENAI_ENDPOINT"):
        parse_language_model("azure:gpt")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com/")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    made = endpoint("azure:my gpt")
    assert (made.url, made.model, dict(made.query)) == ("https://mine.openai.azure.com/openai/v1", "my gpt", {})
    assert made.key.headers == {"api-key": KEY}
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    made = endpoint("azure:my gpt")
    assert (made.url, dict(made.query)) == (
        "https://mine.openai.azure.com/openai/deployments/my%20gpt",
        {"api-version": "2024-10-21"},
    )
    assert dict(endpoint("azure:gpt", query={"api-version": "preview"}).query) == {"api-version": "preview"}
    with pytest.raises(UsageError, match="which deployment"):
        parse_language_model("azure:")


def test_the_version_of_azure_is_sent_with_the_question(echo, monkeypatch):
    monkeypatch.setenv("DMUN_LLM_API_KEY", KEY)
    made = replace(parse_language_model(f"{echo.url}#m"), provider="azure", query=(("api-version", "2024-10-21"),))
    list(open_language_model(made, Settings()).ask([HELLO]))
    assert echo.paths == ["/v1/chat/completions?api-version=2024-10-21"]
    assert {name.casefold(): value for name, value in echo.headers[0].items()}["api-key"] == KEY
    assert "Authorization" not in echo.headers[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere", "OPENAI_BASE_URL holds no URL"),
        (f"https://me:{KEY}@host/v1", "carries credentials"),
        ("ftp://host", "holds no URL"),
    ],
)
def test_a_variable_without_a_url_is_one_error_that_does_not_show_it(value, message, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", value)
    with pytest.raises(UsageError, match=message) as caught:
        parse_language_model("openai:gpt")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("olama:llama3.1", "ollama:llama3.1"),
        ("opnai:gpt", "openai:gpt"),
        ("anthropc:x", "anthropic:x"),
        ("openruter:a/b", "openrouter:a/b"),
        ("vLLM:a/b", "vllm:a/b"),
        ("OLLAMA:", "ollama:…"),
        ("ollama", "ollama:…"),
        ("localhost:8000#m", "http://localhost:8000/v1#m"),
        ("localhost:8000/", "http://localhost:8000/v1"),
        ("10.0.0.7:8000/api/v1#a/b", "http://10.0.0.7:8000/api/v1#a/b"),
        ("llama3.1", "ollama:llama3.1"),
        ("llama3.1:8b", "ollama:llama3.1:8b"),
        ("gpt-4o", "openai:gpt-4o"),
        ("Qwen/Qwen3-4B", "transformers:Qwen/Qwen3-4B"),
        ("old.transcript.jsonl", "transcript:old.transcript.jsonl"),
    ],
)
def test_what_was_meant_is_guessed_and_nothing_else_is_said(text, meant):
    assert close_kind(text) == f"did you mean {meant}? "
    with pytest.raises(UsageError) as caught:
        parse_language_model(text)
    assert str(caught.value) == f"{text!r} names no language model\n  do:   did you mean {meant}?"


@pytest.mark.parametrize("text", ["something:else", ":x", "", " "])
def test_without_a_guess_the_kinds_are_listed(text):
    with pytest.raises(UsageError, match=r"do:   use SERVER:MODEL"):
        parse_language_model(text)


def test_an_extension_of_the_name_of_a_server_is_told(tmp_path, monkeypatch):
    install(
        tmp_path / "packages", monkeypatch, "their_models", "def open(reference, settings): pass", {GROUP: {"ollama": "open"}}
    )
    with pytest.raises(UsageError, match=r"built-in server and of an installed extension[\s\S]*their_models:open"):
        parse_language_model("ollama:llama3.1")


# A URL without a model.


def test_the_only_model_of_a_server_is_used_and_named(brief, access, chat, caplog):
    caplog.set_level("INFO", "dmun_audit")
    chat.pages["/v1/models"] = {"object": "list", "data": [{"id": "oracle", "object": "model"}]}
    dossier = build_dossier(brief, replace(access, reference=parse_language_model(chat.url)))
    assert dossier.provenance.model == "oracle"
    assert {request["model"] for request in chat.requests} == {"oracle"}
    assert f"{chat.url} has one model: oracle" in caplog.messages


def test_a_short_name_without_a_model_means_the_only_one_too(echo, monkeypatch):
    echo.pages["/v1/models"] = {"data": [{"id": "the-one"}]}
    monkeypatch.setenv("LLAMACPP_BASE_URL", echo.url)
    ask("llamacpp:")
    assert echo.requests[0]["model"] == "the-one"


def test_several_models_are_listed_and_not_all_of_many(echo):
    echo.pages["/v1/models"] = {"data": [{"id": "b"}, {"id": "a"}, {"id": "a"}]}
    with pytest.raises(UsageError, match=r"which model to ask[\s\S]*the server has 2: a, b[\s\S]*#MODEL"):
        ask(echo.url)
    echo.pages["/v1/models"] = {"data": [{"id": f"model-{number:03d}"} for number in range(300)]}
    with pytest.raises(UsageError, match="model-009 and 290 more") as caught:
        ask(echo.url)
    assert str(caught.value).count("model-") == MODELS_NAMED


@pytest.mark.parametrize("page", [None, [], {"data": []}, {"data": "x"}, {"data": [{"id": 5}, 7]}, "no list"])
def test_a_server_that_lists_no_model_is_told(echo, page):
    if page is not None:
        echo.pages["/v1/models"] = page
    with pytest.raises(UsageError, match="the server lists no models"):
        ask(echo.url)


def test_a_server_that_cannot_be_reached_is_told_at_once(monkeypatch):
    monkeypatch.setenv("LM_STUDIO_API_BASE", "http://127.0.0.1:9/v1")
    with pytest.raises(UsageError, match=r"LM Studio cannot be reached at http://127.0.0.1:9/v1[\s\S]*lms server start"):
        ask("lmstudio:")


def test_the_url_of_a_protocol_is_the_url_of_its_server():
    assert endpoint("http://localhost:1/v1/chat/completions#m").url == "http://localhost:1/v1"
    made = endpoint("http://localhost:1/v1/responses#m")
    assert (made.url, made.api) == ("http://localhost:1/v1", "responses")


# Keys.


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000/v1", True),
        ("http://LOCALHOST./v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://127.8.9.10:1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://[::ffff:127.0.0.1]/v1", True),
        ("http://10.0.0.5/v1", False),
        ("http://192.168.1.2:8000/v1", False),
        ("http://0.0.0.0/v1", False),
        ("http://localhost.example.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://gpu-box/v1", False),
    ],
)
def test_what_counts_as_this_machine(url, expected):
    assert is_loopback(url) is expected


@pytest.mark.parametrize("host", ["gpu-box:8000", "192.168.1.2:8000", "10.1.1.1"])
def test_a_key_does_not_travel_unencrypted(host, monkeypatch):
    reference = parse_language_model(f"http://{host}/v1#m")
    assert endpoint_of(reference, Additions()).key.value == ""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(UsageError, match=r"a key would be sent unencrypted[\s\S]*OPENAI_API_KEY[\s\S]*--insecure-key") as caught:
        open_language_model(reference, Settings())
    assert KEY not in str(caught.value)
    assert endpoint_of(reference, Additions(insecure_key=True)).key.value == KEY
    assert endpoint(f"https://{host}/v1#m").key.value == KEY
    monkeypatch.setenv("DMUN_LLM_INSECURE_KEY", "1")
    assert endpoint_of(reference, Additions()).key.value == KEY


def test_a_secret_header_does_not_travel_unencrypted_either():
    with pytest.raises(UsageError, match="a header or query parameter holds a key"):
        endpoint("http://gpu-box/v1#m", headers={"X-Gate": KEY}, secrets=(KEY,))


def test_the_option_allows_a_key_over_plain_http(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMUN_LLM_API_KEY", KEY)
    command = ["dossier", "build", "Van Gogh", "--llm=http://gpu-box.invalid/v1#m"]
    assert main(command) == 4
    assert "a key would be sent unencrypted to gpu-box.invalid" in capsys.readouterr().err
    assert main([*command, "--insecure-key"]) == 4
    output = capsys.readouterr().err
    assert "cannot be reached at http://gpu-box.invalid/v1" in output
    assert KEY not in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
        ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        ("https://mine.openai.azure.com/openai/v1", "AZURE_OPENAI_API_KEY"),
    ],
)
def test_the_url_of_a_service_gets_the_key_of_the_service(url, variable, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", OTHER_KEY)
    monkeypatch.setenv(variable, KEY)
    made = endpoint(f"{url}#m")
    assert made.key.value == KEY
    assert variable in made.key.where
    assert made.key.header == ("api-key" if "azure" in url else "Authorization")


def test_a_vision_language_model_has_a_key_of_its_own(echo, monkeypatch):
    monkeypatch.setenv("DMUN_LLM_API_KEY", OTHER_KEY)
    assert endpoint(f"{echo.url}#m", sees_images=True).key.value == OTHER_KEY
    monkeypatch.setenv("DMUN_VLM_API_KEY", KEY)
    assert endpoint(f"{echo.url}#m", sees_images=True).key.value == KEY
    assert endpoint(f"{echo.url}#m").key.value == OTHER_KEY
    judge = VlmNetwork(parse_judge(f"vlm:{echo.url}#m"))
    assert judge.model.endpoint.key.value == KEY


# In audits.


def test_detectors_take_short_names(echo, monkeypatch):
    reference = parse_judge("vlm:ollama:llava")
    assert VlmNetwork(reference).model.endpoint.url == "http://localhost:11434/v1"
    same = VlmNetwork(parse_judge("vlm:http://localhost:11434/v1#llava"))
    assert VlmNetwork(reference).model_reference.place == same.model_reference.place
    for text in ("vlm:vllm:", "vlm:http://localhost:8000/v1"):
        with pytest.raises(LoadError, match="does not say which model to ask"):
            parse_judge(text)


def test_knowledge_takes_a_short_name_and_no_key_reaches_the_store(atelier_chat, monkeypatch, tmp_path):
    monkeypatch.setenv("OLLAMA_HOST", atelier_chat.url)
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    options = Options(model="atelier:uce-van-gogh", knowledge="ollama:oracle", policy="smoke", store=str(tmp_path / "store"))
    config = resolve(options)
    assert atelier_chat.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert config.knowledge.startswith("ollama:oracle, now frozen in ")
    asked = len(atelier_chat.requests)
    assert resolve(options).dossier == config.dossier
    assert len(atelier_chat.requests) == asked
    assert KEY not in json.dumps(config.dossier.model_dump(mode="json"))
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
