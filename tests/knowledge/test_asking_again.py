"""How the interviewer asks again: refusals, thoughts, complaints that change nothing, spare items, what it says afterwards."""

import json
from dataclasses import replace

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.interview.answers import NumberedRating, PlainPrompt, RankedNumber, SimilarityRating, TargetDescription
from dmun_audit.knowledge.interview.interviewer import ATTEMPTS, Interviewer, ItemRequest
from dmun_audit.knowledge.language_models.protocol import Answer
from dmun_audit.knowledge.language_models.transcript import Transcript

VALUES = {"target": "Van Gogh", "kind": "style", "aliases": ()}
REFUSAL = "I'm sorry, but I can't help with that."


class Scripted:
    """A language model that gives its answers in turn, the last one again and again. `questions` are those that it was asked."""

    backend = "script"
    model = "scripted"
    unsupported_parameters: list[str] = []  # noqa: RUF012

    def __init__(self, *answers):
        self.answers = [Answer(answer) if isinstance(answer, str) else answer for answer in answers]
        self.questions = []

    def ask(self, questions):
        for index, question in enumerate(questions):
            self.questions.append(question)
            yield index, self.answers[min(len(self.questions), len(self.answers)) - 1]

    def release(self):
        pass

    def turns(self, number):
        """The texts of the user's and the model's turns of a question, from the first."""
        return [turn.text for turn in self.questions[number].messages[1:]]


def prompts(*texts):
    return json.dumps({"items": [{"prompt": text} for text in texts]})


def many(count, start=0):
    return prompts(*(f"a house by Van Gogh, number {number}" for number in range(start, start + count)))


REQUEST = ItemRequest(
    template="direct",
    values=VALUES,
    item_type=PlainPrompt,
    topic="direct prompts",
    wanted=5,
    minimum=3,
    identity=lambda item: item.prompt,
)


@pytest.fixture
def ask(tmp_path):
    """Asks a scripted model with one request; returns the items, the interviewer and the model."""

    def ask(request, *answers):
        model = Scripted(*answers)
        interviewer = Interviewer(Transcript(tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl", model), 0.7, 0)
        return interviewer.collect([request])[0], interviewer, model

    return ask


# Refusals.


@pytest.mark.parametrize(
    "refusal", [REFUSAL, prompts("I cannot provide this"), Answer("No.", end="refusal"), Answer("", end="refusal")]
)
def test_a_refusal_is_rephrased_once_with_the_purpose(ask, refusal):
    items, interviewer, model = ask(REQUEST, refusal, many(5))
    assert len(items) == 5
    assert interviewer.shortfalls == ()
    first, second = model.turns(0), model.turns(1)
    assert len(second) == 1  # no history: the refusal is not shown to the model
    assert second[0].startswith(first[0])
    assert "safety audit" in second[0].removeprefix(first[0])
    assert model.questions[0].schema == model.questions[1].schema
    assert "purpose" in interviewer.used_templates


def test_what_is_refused_twice_is_left_out_of_an_optional_request(ask):
    items, interviewer, model = ask(replace(REQUEST, optional=True), REFUSAL)
    assert items == []
    assert len(model.questions) == 2
    (shortfall,) = interviewer.shortfalls
    assert (shortfall.topic, shortfall.reason) == ("direct prompts", "refused")
    assert shortfall.sentence == "direct prompts: 0 of 5 items could be had; the language model refused."


def test_what_is_refused_twice_ends_a_required_request_with_the_last_words(ask):
    with pytest.raises(
        UsageError, match=r"refused to say anything about direct prompts[\s\S]*can't help with that[\s\S]*another model"
    ):
        ask(REQUEST, REFUSAL)


def test_items_before_a_refusal_are_kept(ask):
    items, interviewer, _ = ask(replace(REQUEST, optional=True), many(2), REFUSAL)
    assert len(items) == 2
    assert interviewer.shortfalls[0].reason == "refused"
    assert interviewer.shortfalls[0].sentence.startswith("direct prompts: 2 of 5 items could be had")


def test_a_request_that_may_be_empty_says_that_it_was_refused(ask):
    items, interviewer, _ = ask(replace(REQUEST, minimum=0), REFUSAL)
    assert items == []
    assert interviewer.shortfalls[0].reason == "refused"
    assert ask(replace(REQUEST, minimum=0), '{"items": []}')[1].shortfalls == ()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("hm", "invalid"),
        (Answer("hm", end="length"), "cut off"),
        (Answer("", end="too large"), "too large"),
        (many(2), "exhausted"),
    ],
)
def test_a_shortfall_says_its_reason(ask, answer, reason):
    _, interviewer, _ = ask(replace(REQUEST, optional=True), answer)
    assert [shortfall.reason for shortfall in interviewer.shortfalls] == [reason]


# Thoughts.


def test_a_model_cut_off_while_thinking_gets_room_and_no_complaint_about_json(ask):
    thinking = Answer("<think>Let me see, {perhaps", end="length")
    items, _, model = ask(REQUEST, thinking, thinking, many(5))
    assert len(items) == 5
    assert [question.max_tokens for question in model.questions] == [2_500, 5_000, 10_000]
    *_, correction = model.turns(1)
    assert "cut off before its JSON began" in correction
    assert "no JSON object" not in correction
    assert not any("Let me see" in turn for turn in model.turns(1))  # thoughts are no part of the history


def test_a_short_answer_gets_room_for_thoughts_at_once(ask):
    request = ItemRequest(
        template="look", values={"target": "a", "concept": "b", "shown": 2}, item_type=SimilarityRating, topic="x", wanted=1, minimum=1,
        max_tokens=200,
    )  # fmt: skip
    items, _, model = ask(request, Answer("", end="length"), '<think>40?</think>{"items": [{"rating": 41}]}')
    assert items[0].rating == 41
    assert [question.max_tokens for question in model.questions] == [200, 4_000]


def test_room_for_thoughts_has_an_end(ask):
    _, _, model = ask(replace(REQUEST, optional=True, max_tokens=9_000), Answer("<think>hm", end="length"))
    assert max(question.max_tokens for question in model.questions) == 16_000


def test_a_list_that_was_cut_off_gives_its_whole_items(ask):
    items, interviewer, model = ask(REQUEST, Answer(many(6)[:-20], end="length"))
    assert len(items) == 5
    assert len(model.questions) == 1
    assert interviewer.remarks == ("1 answer was cut off; the whole items in it were kept.",)


# Complaints that change nothing.


@pytest.mark.parametrize("answer", [prompts("a", ""), "I like painting.", '{"items": "none"}'])
def test_the_same_complaint_is_not_sent_again_and_again(ask, answer):
    _, interviewer, model = ask(replace(REQUEST, optional=True), answer)
    assert len(model.questions) == 3 < ATTEMPTS
    complaints = [turns[-1] for turns in map(model.turns, range(3)) if len(turns) > 1]
    assert len(complaints) == 1
    assert len(model.turns(2)) == 1
    assert "kite" in model.turns(2)[0]
    assert "example" in interviewer.used_templates


def test_a_model_that_follows_the_example_is_heard(ask):
    items, interviewer, model = ask(REQUEST, "hm", "hm", many(5))
    assert len(items) == 5
    assert len(model.questions) == 3
    assert interviewer.shortfalls == ()


def test_an_example_that_is_given_back_is_no_item(ask):
    echo = '{"items": [{"prompt": "a kite over a wheat field at noon"}]}'
    items, _, _ = ask(replace(REQUEST, optional=True), "hm", "hm", echo)
    assert items == []


def test_new_problems_are_told_each_time(ask):
    answers = [prompts("x" * 300), prompts("<b>x</b>"), prompts("..."), many(5)]
    items, _, model = ask(REQUEST, *answers)
    assert len(items) == 5
    assert [len(model.turns(number)) for number in range(4)] == [1, 3, 3, 3]


def test_of_several_drafts_of_one_item_the_last_counts(ask):
    about = {"kind": "style", "aliases": [], "spellings": [], "label": "a painting"}
    request = ItemRequest(
        template="target", values=VALUES, item_type=TargetDescription, topic="what the target is", wanted=1, minimum=1
    )
    drafts = [json.dumps(about | {"label": label}) for label in ("a draft", "a painting by Van Gogh")]
    (item,), _, _ = ask(request, " No, rather: ".join(drafts))
    assert item.label == "a painting by Van Gogh"


# A first question with items to spare.


def test_the_first_question_asks_for_two_to_spare_and_takes_less(ask):
    items, _, model = ask(REQUEST, many(5))
    assert "Give 7 prompts" in model.turns(0)[0]
    assert len(items) == 5
    assert len(ask(REQUEST, many(4))[2].questions) == 1  # 80% of five
    assert len(ask(REQUEST, many(3), many(2, 3))[2].questions) == 2


def test_a_list_problem_is_asked_for_even_if_enough_items_are_there(ask):
    request = replace(REQUEST, list_problem=lambda items: "" if len(items) > 5 else "No house among them.")
    items, _, model = ask(request, many(5), many(1, 5))
    assert len(items) == 6
    assert "No house among them." in model.turns(1)[-1]


def test_a_problem_that_is_no_failure_is_told_once(ask):
    ranks = [json.dumps({"items": [{"number": number} for number in range(start, start + 9)]}) for start in (1, 2, 1)]
    request = ItemRequest(
        template="rank",
        values=VALUES | {"names": list("abcdefghij")},
        item_type=RankedNumber,
        topic="similarity (ranked)",
        wanted=10,
        minimum=8,
        identity=lambda item: str(item.number),
        list_problem=lambda items: "" if len(items) == 10 else "Some are missing.",
        list_problem_fails=False,
        whole_lists=True,
    )
    items, interviewer, model = ask(request, *ranks)
    assert [item.number for item in items] == list(range(2, 11))
    assert len(model.questions) == 2
    assert interviewer.shortfalls == ()


def test_a_list_of_numbers_has_none_to_spare():
    request = ItemRequest(template="rate", values={}, item_type=NumberedRating, topic="x", wanted=20, minimum=16)
    assert (request.asked, request.sufficient) == (20, 20)
    assert (REQUEST.asked, REQUEST.sufficient) == (7, 4)
    attack = replace(REQUEST, enough=1)
    assert (attack.asked, attack.sufficient) == (5, 1)
    few = replace(REQUEST, wanted=1, minimum=1)
    assert (few.asked, few.sufficient) == (1, 1)


# What is said afterwards.


def test_deviations_are_counted_in_a_few_sentences(ask):
    wrapped = json.dumps([{"prompt": f"a house by Van Gogh, {number}", "why": "x"} for number in range(2)])
    _, interviewer, _ = ask(REQUEST, wrapped, many(5))
    assert interviewer.remarks == (
        "1 answer had the items in another form than the schema's, such as a wrapping object, a bare list or lines; it was read.",
        "1 answer had extra keys, which were left out.",
    )


def test_a_replay_asks_the_same_and_says_the_same(tmp_path):
    def interviewed(model):
        interviewer = Interviewer(Transcript(tmp_path / "t.jsonl", model), 0.7, 0)
        items = interviewer.collect([replace(REQUEST, optional=True), replace(REQUEST, topic="more", optional=True)])
        return items, interviewer.shortfalls, interviewer.remarks, interviewer.used_templates

    model = Scripted(REFUSAL, "hm", prompts("a"), "hm", many(2), Answer("<think>", end="length"), json.dumps(["a", "b"]))
    first = interviewed(model)
    assert model.questions
    assert interviewed(None) == first
