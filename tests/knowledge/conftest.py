"""A language model that knows a shipped dossier by heart, behind a real HTTP server on loopback."""

import pytest
from chat_server import serving
from oracles import Oracle

from dmun_audit.knowledge.build import LanguageModelAccess
from dmun_audit.knowledge.interview.interview import InterviewTask
from dmun_audit.knowledge.language_models.http import ChatCompletions
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.knowledge.lengths import clip_counter
from dmun_audit.knowledge.packs import open_knowledge


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Keys of whoever runs the tests stay out of them, and so do proxies."""
    for name in ("DMUN_LLM_API_KEY", "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """The pauses between tries are shorter than in life; how many there are, and what ends them, is not changed."""
    opened = ChatCompletions.__init__

    def quicker(self, url, model, settings, first_pause=0.02):
        opened(self, url, model, settings, first_pause)

    monkeypatch.setattr(ChatCompletions, "__init__", quicker)


@pytest.fixture(scope="session")
def known():
    """The dossier that the language model knows by heart."""
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
    """How the server is asked: one question at a time, so that faults meet the questions that they are meant for."""
    reference = parse_language_model(f"{chat.url}#oracle")
    return LanguageModelAccess(reference, tmp_path / "vg.transcript.jsonl", Settings(timeout=2.0, concurrency=1))
