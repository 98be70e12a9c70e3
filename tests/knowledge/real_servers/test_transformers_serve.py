"""`transformers serve` with a tiny Llama: it takes a JSON schema and ignores it. The interview ends all the same."""

import time
from dataclasses import replace

import pytest
import real_servers

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.interview.answers import PlainPrompt, answer_schema
from dmun_audit.knowledge.language_models.protocol import Message, Question

pytestmark = pytest.mark.slow


def _question(seed=1, tokens=200):
    return Question(
        (Message("system", "Answer."), Message("user", "Go on.")), answer_schema(PlainPrompt, 1, 2), 0.8, seed, tokens
    )


def test_questions_are_answered_with_their_tokens_counted(transformers_serve, open_model):
    replies = dict(open_model(transformers_serve).ask([_question(seed) for seed in range(4)]))
    assert set(replies) == set(range(4))
    assert all(answer.text and answer.tokens_in > 10 and answer.tokens_out > 0 for answer in replies.values())


def test_an_answer_that_runs_out_of_tokens_says_so(transformers_serve, open_model):
    assert dict(open_model(transformers_serve).ask([_question(tokens=2)]))[0].end == "length"


def test_a_name_that_the_server_does_not_serve_is_one_clear_error(transformers_serve, open_model):
    other = replace(transformers_serve, model="other")
    with pytest.raises(UsageError, match="requested 'other'"):
        list(open_model(other).ask([_question()]))


def test_an_interview_whose_schema_is_ignored_ends_soon_and_says_so(transformers_serve, brief, access_to):
    started = time.monotonic()
    lines = []
    with real_servers.recording(transformers_serve) as proxy, pytest.raises(UsageError) as caught:
        build_dossier(brief, access_to(proxy), lines.append)
    assert "gave no valid answer about what the target is" in str(caught.value)
    assert "no JSON" in str(caught.value)
    assert len(proxy.bodies) <= 12
    assert time.monotonic() - started < 300  # 10 on an idle machine
