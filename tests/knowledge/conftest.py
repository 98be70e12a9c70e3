"""A language model that answers from a pack, behind a real HTTP server on loopback."""

import pytest
from chat_server import serving
from oracles import Oracle, atelier_knowledge

from dmun_audit.knowledge.build import LanguageModelAccess
from dmun_audit.knowledge.interview.interview import InterviewTask
from dmun_audit.knowledge.language_models.over_http.client import ChatCompletions
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.providers import PROVIDERS
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.knowledge.lengths import clip_counter
from dmun_audit.knowledge.packs import open_knowledge


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Tests see no key, no server and no proxy of the environment."""
    own = ("DMUN_LLM_API_KEY", "DMUN_VLM_API_KEY", "DMUN_LLM_INSECURE_KEY", "OPENAI_API_VERSION", "AZURE_OPENAI_API_VERSION")
    of_servers = [name for server in PROVIDERS.values() for name in (*server.key_variables, *server.url_variables)]
    for name in (*own, *of_servers, "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """Shorter pauses between tries; their number and their end stay the same."""
    opened = ChatCompletions.__init__

    def quicker(self, endpoint, settings, first_pause=0.005):
        opened(self, endpoint, settings, first_pause)

    monkeypatch.setattr(ChatCompletions, "__init__", quicker)


@pytest.fixture(scope="session")
def known():
    """The dossier from which the language model answers."""
    return open_knowledge("van-gogh")


@pytest.fixture(scope="session")
def counter():
    """CLIP's tokenizer."""
    return clip_counter()


@pytest.fixture
def chat(known):
    """The running server."""
    with serving(Oracle(known)) as running:
        yield running


@pytest.fixture
def brief(counter):
    """An interview about Van Gogh."""
    return InterviewTask("Van Gogh", "real", counter, repeats=2)


@pytest.fixture
def access(chat, tmp_path):
    """Access to the server, one question at a time, so that each fault meets the question that it is meant for."""
    reference = parse_language_model(f"{chat.url}#oracle")
    return LanguageModelAccess(reference, tmp_path / "vg.transcript.jsonl", Settings(timeout=20.0, concurrency=1))


@pytest.fixture
def atelier_chat():
    """A running server that answers from the atelier's Van Gogh."""
    with serving(Oracle(atelier_knowledge())) as running:
        yield running
