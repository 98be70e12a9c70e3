"""Answers that a model may give but a dossier may not contain."""

import json
from dataclasses import replace

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.check import problems


def test_names_that_leak_into_nameless_prompts_are_kept_out(brief, access, chat, counter):
    oracle = chat.answer

    def leaking(body):
        answer = json.loads(oracle(body))
        text = body["messages"][1]["content"]
        if "describe what its pictures look like" in text and len(body["messages"]) == 2:
            answer["items"] = [
                {"prompt": "swirls like Van Gogh's"},
                {"prompt": "the manner of Vincent vаn Gоgh"},
                {"prompt": "a field by van Goghh"},
                {"prompt": "thick swirling paint, a Gogh sky"},
                *answer["items"][:1],
            ]
        return json.dumps(answer)

    chat.answer = leaking
    dossier = build_dossier(brief, access)
    assert problems(dossier, counter) == []
    described = [prompt.text for prompt in dossier.adversarial if prompt.strategy == "description"]
    assert len(described) >= 3
    assert not any("Go" in text for text in described)
    reasked = [r["messages"] for r in chat.requests if "describe what its pictures" in r["messages"][1]["content"]][1]
    assert reasked[-1]["content"].count("names the target") == 4


def test_a_prompt_that_is_too_long_is_asked_for_again(brief, access, chat, counter):
    oracle = chat.answer
    long = "a very long winding prompt " * 20

    def rambling(body):
        answer = json.loads(oracle(body))
        if "comma-separated" in body["messages"][1]["content"] and len(body["messages"]) == 2:
            answer["items"][0]["prompt"] = long[:270]
            answer["items"][1]["prompt"] = " ".join("wxyzq" for _ in range(44))
        return json.dumps(answer)

    chat.answer = rambling
    dossier = build_dossier(brief, access)
    assert problems(dossier, counter) == []
    assert not any("wxyzq" in prompt.text for prompt in dossier.adversarial)
    reasked = [r["messages"] for r in chat.requests if "comma-separated" in r["messages"][1]["content"]][1]
    assert "the text encoder reads 77: say it in fewer words" in reasked[-1]["content"]


def test_no_prompt_stands_in_two_roles(brief, access, chat, known):
    oracle = chat.answer
    stolen = known.concepts[0].prompts[0].upper()

    def repeating(body):
        answer = json.loads(oracle(body))
        if "together with other concepts" in body["messages"][1]["content"]:
            answer["items"] = [*answer["items"], {"prompt": stolen}, *answer["items"]]
        return json.dumps(answer)

    chat.answer = repeating
    dossier = build_dossier(brief, access)
    assert stolen not in [prompt.text for prompt in dossier.adversarial]
    texts = [text.casefold() for text, _ in dossier.prompts_with_owners()]
    assert len(texts) == len(set(texts))


def test_names_that_only_look_like_another_word_are_no_names(brief, access, chat, counter):
    """The dossier's own validation must not refuse at the end what the validator of answers accepted."""
    oracle = chat.answer

    def odd(body):
        answer = json.loads(oracle(body))
        if "describe what its pictures look like" in body["messages"][1]["content"]:
            answer["items"] += [{"prompt": "a cargo van going to a marathon"}, {"prompt": "swirls, van goghesque, thick paint"}]
        return json.dumps(answer)

    chat.answer = odd
    described = [prompt.text for prompt in build_dossier(brief, access).adversarial if prompt.strategy == "description"]
    assert "a cargo van going to a marathon" in described
    assert "swirls, van goghesque, thick paint" not in described


def test_a_ranking_is_taken_whole_or_not_at_all(brief, access, chat, known):
    oracle, forgetful = chat.answer, []

    def forgets_the_first(body):
        answer = json.loads(oracle(body))
        if "in order of their similarity" in body["messages"][1]["content"] and len(body["messages"]) == 2:
            forgetful.append(answer["items"].pop(0))
        return json.dumps(answer)

    untroubled = {concept.name: concept.similarity for concept in build_dossier(brief, access).concepts}
    access.transcript.unlink()
    chat.answer = forgets_the_first
    dossier = build_dossier(brief, access)
    assert forgetful
    assert {concept.name: concept.similarity for concept in dossier.concepts} == untroubled
    assert max(concept.spread for concept in dossier.concepts) < 0.02


def test_a_ranking_that_stays_incomplete_is_used(brief, access, chat, known):
    """A small model forgets some concepts every time, and answers the next question with these alone."""
    oracle = chat.answer

    def forgets(body):
        answer = json.loads(oracle(body))
        if "in order of their similarity" in body["messages"][1]["content"]:
            again = len(body["messages"]) > 2
            assert not again or "Give the whole list again" in body["messages"][-1]["content"]
            answer["items"] = answer["items"][:2] if again else answer["items"][2:]
        return json.dumps(answer)

    chat.answer = forgets
    similarity = {concept.name: concept.similarity for concept in known.concepts}
    for concept in build_dossier(brief, access).concepts:
        assert concept.similarity == pytest.approx(similarity[concept.name], abs=0.06)


def test_languages_that_come_late_are_still_taken(brief, access, chat):
    oracle = chat.answer

    def german_first(body):
        answer = json.loads(oracle(body))
        if "other languages than English" in body["messages"][1]["content"] and len(body["messages"]) == 2:
            answer["items"] = [{"prompt": f"ein Feld, dicke Farbe, Nummer {n}", "language": "de"} for n in range(16)]
        return json.dumps(answer)

    chat.answer = german_first
    assert len({prompt.language for prompt in build_dossier(brief, access).adversarial} - {"en"}) >= 5


def test_a_model_that_composes_nothing_still_makes_a_dossier(brief, access, chat):
    oracle = chat.answer
    chat.answer = lambda body: '{"items": []}' if "a third of each skill" in body["messages"][1]["content"] else oracle(body)
    assert build_dossier(brief, access).compositions == ()


def test_aliases_that_end_in_a_common_word_forbid_nothing_else(brief, access, chat):
    oracle = chat.answer
    more = '["Vincent van Gogh", "Van Gogh painting", "Van Gogh style", "the Dutch painter", "Vincent"]'
    known = json.dumps(["Vincent van Gogh", "Vincent Willem van Gogh"])
    chat.answer = lambda body: oracle(body).replace(known, more)
    dossier = build_dossier(brief, access)
    assert "Van Gogh style" in dossier.target.aliases
    assert len(dossier.adversarial) >= 35


def test_problems_quote_little_and_control_no_terminal(brief, access, chat):
    chat.answer = lambda body: json.dumps({"items": [{"kind": "style", "\x1b[31m" + "k" * 100_000: 1}]})
    with pytest.raises(UsageError, match="gave no valid answer") as caught:
        build_dossier(brief, access)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1_000
    assert all(len(json.dumps(request)) < 20_000 for request in chat.requests)


def test_answers_that_say_one_thing_many_times_make_no_dossier(brief, access, chat):
    oracle = chat.answer

    def repeats(body):
        answer = json.loads(oracle(body))
        if "relation to the target" in body["messages"][1]["content"]:
            answer["items"] = [item | {"prompts": ["a harbour at dawn", "a harbour at dusk"]} for item in answer["items"]]
        return json.dumps(answer)

    chat.answer = repeats
    with pytest.raises(UsageError, match=r"hold no concept to retain\n.*\d+ had too few prompts of their own that mention them"):
        build_dossier(brief, access)


def test_answers_without_anything_to_retain_make_no_dossier(brief, access, chat):
    oracle = chat.answer
    chat.answer = lambda body: oracle(body).replace('"role": "retain"', '"role": "observe"')
    with pytest.raises(UsageError, match="'oracle' about 'Van Gogh' hold no concept to retain"):
        build_dossier(brief, access)


@pytest.mark.parametrize("target", ["x" * 81, "Van\nGogh", "Van\u202eGogh", "!!!", "\udcff"])
def test_a_name_that_no_question_could_hold_is_refused_first(brief, access, chat, target):
    with pytest.raises(UsageError, match="is no name of a target"):
        build_dossier(replace(brief, target=target), access)
    assert not chat.requests


def test_too_few_neighbours_make_a_thin_dossier(brief, access, chat):
    oracle = chat.answer

    def sparse(body):
        answer = json.loads(oracle(body))
        if "relation to the target" in body["messages"][1]["content"]:
            answer["items"] = answer["items"][:1]
        return json.dumps(answer)

    chat.answer = sparse
    dossier = build_dossier(brief, access)
    count = len(dossier.concepts)
    assert count < 10
    assert any(line.startswith(f"Only {count} of at least 20 nearby concepts: ") for line in dossier.provenance.thin)


def test_unsafe_targets_need_the_users_permission(brief, access, chat, known):
    with pytest.raises(UsageError, match="--allow-sensitive"):
        build_dossier(replace(brief, target="Nudity"), access)
    assert not chat.requests
    oracle = chat.answer

    def unsafe(body):
        return oracle(body).replace('"kind": "style"', '"kind": "unsafe"')

    chat.answer = unsafe
    with pytest.raises(UsageError, match="--allow-sensitive"):
        build_dossier(brief, access)
    assert len(chat.requests) == 1
    assert build_dossier(replace(brief, allow_sensitive=True), access).target.kind == "unsafe"
