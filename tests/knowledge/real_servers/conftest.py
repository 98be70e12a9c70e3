"""The servers of the tests in this folder, each started once, with small models of random weights."""

import os

import pytest
import real_servers
from tiny_gguf import save_llama_gguf
from tiny_models import save_llama

from dmun_audit.knowledge.build import LanguageModelAccess
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import open_language_model, parse_language_model


@pytest.fixture(autouse=True)
def fewer_threads(monkeypatch):
    """Threads of several processes would wait for each other."""
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory):
    """A GGUF file of 170 kB whose texts are nonsense in ASCII."""
    pytest.importorskip("gguf", reason="the package gguf writes the model's file")
    return save_llama_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def llama_cpp(tiny_gguf, tmp_path_factory):
    """llama.cpp's server with that model, four slots of 16,384 tokens each."""
    pytest.importorskip("xllamacpp", reason="the package xllamacpp holds llama.cpp's server")
    with real_servers.llama_cpp(tiny_gguf, tmp_path_factory.mktemp("llama.cpp") / "log.txt") as running:
        yield running


@pytest.fixture(scope="session")
def transformers_serve(tmp_path_factory):
    """`transformers serve` with a tiny Llama."""
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package, reason="transformers[serving] holds the server")
    folder = tmp_path_factory.mktemp("transformers-serve")
    with real_servers.transformers_serve(save_llama(folder / "tiny-llama"), folder / "log.txt") as running:
        yield running


@pytest.fixture
def open_model():
    """Opens the language model behind a server as `--llm` would."""

    def opened(server, **settings):
        return open_language_model(parse_language_model(server.reference), Settings(**{"timeout": 60.0} | settings))

    return opened


@pytest.fixture
def access_to(tmp_path):
    """Access to a server for an interview."""

    def access(server, **settings):
        reference = parse_language_model(server.reference)
        return LanguageModelAccess(reference, tmp_path / "vg.transcript.jsonl", Settings(**{"timeout": 60.0} | settings))

    return access
