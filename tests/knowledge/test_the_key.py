"""The key of a hosted model is sent to its server and appears nowhere else."""

import json

import pytest
from chat_server import send
from oracles import as_bytes

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import build_dossier

KEY = "sk-very-secret-0123456789"


def test_the_key_is_sent_and_stands_nowhere_else(brief, access, chat, monkeypatch, tmp_path, capsys, caplog):
    caplog.set_level("DEBUG", "dmun_audit")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.setenv("DMUN_LLM_API_KEY", KEY)
    dossier = build_dossier(brief, access, print)
    assert chat.headers[0]["Authorization"] == f"Bearer {KEY}"
    as_bytes(dossier, tmp_path)
    chat.fail_next(lambda handler, body: send(handler, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode(), 401))
    access.transcript.unlink()
    with pytest.raises(UsageError) as caught:
        build_dossier(brief, access, print)
    assert "bad key [key]" in str(caught.value)
    out, err = capsys.readouterr()
    texts = [out, err, caplog.text, str(caught.value), *(path.read_text() for path in tmp_path.rglob("*") if path.is_file())]
    assert not any(KEY in text for text in texts)


@pytest.mark.parametrize("key", ["sk-two\nlines-of-it", "sk-café-secret", "sk two words"])
def test_a_key_that_cannot_be_sent_is_one_error_that_does_not_show_it(brief, access, chat, monkeypatch, key):
    monkeypatch.setenv("DMUN_LLM_API_KEY", key)
    with pytest.raises(UsageError, match="the key in DMUN_LLM_API_KEY is no key") as caught:
        build_dossier(brief, access)
    assert not any(part in str(caught.value) for part in ("two", "secret"))
    assert not chat.requests


def test_white_space_around_a_key_is_not_sent(brief, access, chat, monkeypatch):
    monkeypatch.setenv("DMUN_LLM_API_KEY", f" {KEY}\n")
    build_dossier(brief, access)
    assert chat.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_key_that_the_model_says_back_is_not_kept(brief, access, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    oracle = chat.answer
    chat.answer = lambda body: oracle(body).replace("a painting by Vincent van Gogh", f"a painting {KEY}")
    build_dossier(brief, access)
    assert KEY not in access.transcript.read_text()


def test_a_key_that_comes_back_in_another_spelling_is_not_kept_either(brief, access, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    oracle, spelt = chat.answer, f"\\u0073{KEY[1:]}"
    chat.answer = lambda body: oracle(body).replace("a painting by Vincent van Gogh", f"a painting by Van Gogh, {spelt}")
    dossier = build_dossier(brief, access)
    assert dossier.target.label == "a painting by Van Gogh, [key]"
    assert KEY[1:] not in access.transcript.read_text()


def test_a_redirect_does_not_print_the_key(brief, access, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    target = [("Location", f"https://elsewhere/?k=Bearer {KEY}" + "x" * 1000)]
    chat.fail_next(lambda handler, body: send(handler, b"{}", 307, headers=target))
    with pytest.raises(UsageError, match=r"it points to https://elsewhere/\?k=Bearer \[key\]") as caught:
        build_dossier(brief, access)
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_key_that_is_a_word_is_no_secret(brief, access, chat, monkeypatch, known):
    monkeypatch.setenv("OPENAI_API_KEY", "star")
    dossier = build_dossier(brief, access)
    assert "a starry sky" in {concept.name for concept in dossier.concepts}


def test_a_key_is_not_cut_in_half_by_the_limit_of_a_message(brief, access, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    filler = "x" * (300 - len(KEY) // 2)
    chat.fail_next(lambda handler, body: send(handler, json.dumps({"error": filler + KEY}).encode(), 401))
    with pytest.raises(UsageError) as caught:
        build_dossier(brief, access)
    assert KEY[:8] not in str(caught.value)


def test_a_reply_that_is_no_completion_does_not_show_half_a_key(brief, access, chat, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    body = b"x" * (120 - len(KEY) // 2) + KEY.encode()
    chat.fail_next(*[lambda handler, request: send(handler, body)] * 5)
    with pytest.raises(UsageError, match="no chat completion") as caught:
        build_dossier(brief, access)
    assert KEY[:8] not in str(caught.value)
