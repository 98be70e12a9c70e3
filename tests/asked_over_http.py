"""One question, its answer, and how a client asks it over HTTP."""

from dataclasses import replace

from dmun_audit.knowledge.language_models.endpoint import Endpoint
from dmun_audit.knowledge.language_models.over_http.client import ChatCompletions
from dmun_audit.knowledge.language_models.protocol import Message, Question, Settings

SCHEMA = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "string"}}}, "required": ["items"]}
QUESTION = Question((Message("system", "Be brief."), Message("user", "Which?")), SCHEMA, 0.7, 1, 1_000)
TEXT = '{"items": ["a star ✨"]}'


def ask(chat, *questions, settings=None, **endpoint):
    """The answers to the questions, in their order, and the client."""
    client = ChatCompletions(
        Endpoint(endpoint.pop("url", chat and chat.url), "m", **endpoint), settings or Settings(timeout=20.0)
    )
    answers = dict(client.ask(questions or [QUESTION]))
    return [answers[place] for place in sorted(answers)], client


def longer(tokens, *turns):
    """The question with this limit and further turns."""
    return replace(QUESTION, max_tokens=tokens, messages=QUESTION.messages + turns)
