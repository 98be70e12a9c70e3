"""Reading answers: exact ones, nearly right ones, hostile ones."""

import json
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dmun_audit.knowledge.interview import answers
from dmun_audit.knowledge.interview.answers import (
    EXAMPLES,
    Neighbour,
    NumberedRating,
    PlainPrompt,
    PromptWithLanguage,
    PromptWithSkill,
    RankedNumber,
    SimilarityRating,
    TargetDescription,
    example_answer,
)
from dmun_audit.knowledge.interview.reading.reading_answers import NO_LIST, REFUSED, read_answer
from dmun_audit.knowledge.language_models.protocol import MAXIMUM_ANSWER_BYTES
from dmun_audit.knowledge.words.reasoning import without_reasoning

TYPES = [
    kind
    for kind in vars(answers).values()
    if isinstance(kind, type)
    and issubclass(kind, answers.BaseModel)
    and kind.model_fields
    and kind.__module__ == answers.__name__
]
AB = ["a", "b"]
MONET = {"name": "Monet", "kind": "style", "role": "retain", "may_contain_target": False, "label": "x y", "prompts": ["a", "b"]}


def _values(text, item_type, **facts):
    """The values of the items' only or last field."""
    return [list(item.model_dump().values())[-1] for item in read_answer(text, item_type, **facts).items]


@pytest.mark.parametrize(
    ("text", "prompts", "deviations"),
    [
        ('{"items": [{"prompt": "a"}, {"prompt": "b"}]}', AB, set()),
        ('```json\n{"items": [{"prompt": "a"}, {"prompt": "b"}]}\n```', AB, set()),
        ('{"items": ["a", "b"]}', AB, {"form"}),
        ('["a", "b"]', AB, {"form"}),
        ('{"answer": {"items": [{"prompt": "a"}, {"prompt": "b"}]}}', AB, {"form"}),
        ('{"result": [{"prompt": "a"}, {"prompt": "b"}]}', AB, {"form"}),
        ('{"data": {"result": {"list": ["a", "b"]}}}', AB, {"form"}),
        ('{"prompt": "a"}', ["a"], {"form"}),
        ('{"items": {"prompt": "a"}}', ["a"], {"form"}),
        ('{"items": {"1": {"prompt": "a"}, "2": {"prompt": "b"}}}', AB, {"form"}),
        ('{"prompt": "a"}\n{"prompt": "b"}\n', AB, {"form"}),
        ('{"items": "[{\\"prompt\\": \\"a\\"}]"}', ["a"], {"form"}),
        ('"{\\"items\\": [{\\"prompt\\": \\"a\\"}]}"', ["a"], {"form"}),
        ('{"thoughts": "hm", "items": [{"prompt": "a"}]}', ["a"], {"extra keys"}),
        ('{"items": [{"prompt": "a", "why": "b"}]}', ["a"], {"extra keys"}),
        ('{"items": [{"Prompt": "a"}, {"text": "b"}]}', AB, {"keys"}),
        ('{"items": [{"prompt": "a",}, {"prompt": "b"},]}', AB, {"syntax"}),
        ("{'items': [{'prompt': 'a'}, {'prompt': 'b'}]}", AB, {"syntax"}),
        ('{"items": [{"prompt": "a"}, // one\n {"prompt": "b"} /* two */]}', AB, {"syntax"}),
        ('{"items": [{"prompt": "a "big" house"}]}', ['a "big" house'], {"syntax"}),
        ("1. a\n2. b", AB, {"form"}),
        ('Here they are:\n- "a"\n- **b**\nEnjoy!', AB, {"form"}),
    ],
)
def test_small_deviations_are_read_and_named(text, prompts, deviations):
    reading = read_answer(text, PlainPrompt)
    assert [item.prompt for item in reading.items] == prompts
    assert reading.deviations == deviations
    assert reading.problems == []


@pytest.mark.parametrize(
    "text",
    [
        '{"items": [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a house by the',
        '{"items": [{"prompt": "a"}, {"prompt": "b"}, {"pro',
        "{'items': [{'prompt': 'a'}, {'prompt': 'b'}, {'prompt': 'a house by",
        '{"items": ["a", "b", "a house by the',
        '["a", "b", "a hou',
        "1. a\n2. b\n3. a house by the",
    ],
)
def test_what_was_cut_off_is_left_out_and_never_completed(text):
    reading = read_answer(text, PlainPrompt, cut_off=True)
    assert [item.prompt for item in reading.items] == AB
    assert "cut off" in reading.deviations or text.startswith("1.")


@pytest.mark.parametrize(
    "text",
    [
        "Step 1: think\n- first idea\nthen\nanother\n- second idea",
        "I thought about it.",
        '{"type": "object", "properties": {"items": {"type": "array", "items": {"type": "object"}}}}',
        '{"items',
        "null",
        "7",
        "",
    ],
)
def test_what_is_no_list_gives_nothing(text):
    reading = read_answer(text, PlainPrompt)
    assert (reading.items, reading.problems) == ([], [NO_LIST])


def test_a_fault_of_one_item_costs_no_other():
    reading = read_answer('{"items": [{"prompt": "a"}, {"prompt": "<b>x</b>"}, {"prompt": ""}, {"prompt": "d"}]}', PlainPrompt)
    assert [item.prompt for item in reading.items] == ["a", "d"]
    assert [line[:6] for line in reading.problems] == ["Item 2", "Item 3"]
    torn = read_answer('{"items": [{"prompt": "a", "x": {"y": }, {"prompt": "b"}]}', PlainPrompt)
    assert [item.prompt for item in torn.items] == ["b"]


@pytest.mark.parametrize(
    "thoughts",
    [
        "<think>{}</think>",
        "{}</think>",
        "<thinking>\n{}\n</thinking>\n",
        "<reasoning>{}</reasoning>",
        "[THINK]{}[/THINK]",
        "◁think▷{}◁/think▷",
        "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>",
        "analysisLet me see. {} assistantfinal",
        "<think>{}</think><think>again {}</think>",
        "",
    ],
)
def test_thoughts_are_dropped_and_the_last_draft_counts(thoughts):
    draft = '{"items": [{"prompt": "draft"}]}'
    text = thoughts.replace("{}", draft) + draft + ' or rather\n{"items": [{"prompt": "a"}, {"prompt": "b"}]} as in [1] {so}'
    reading = read_answer(text, PlainPrompt)
    assert [item.prompt for item in reading.items] == AB
    assert not thoughts or thoughts not in reading.text


def test_thoughts_without_an_end_are_no_answer():
    assert without_reasoning('<think>maybe {"items": [{"prompt": "a"}]}') == ""
    assert read_answer('<think>maybe {"items": [{"prompt": "a"}]}', PlainPrompt, cut_off=True).items == []


def test_fields_are_read_where_their_meaning_is_sure():
    odd = {"Name": "Monet", "Kind": "Artist", "role": "Retain", "mayContainTarget": "No", "label": "x y", "prompts": AB * 6}
    (item,) = read_answer(json.dumps({"items": [odd]}), Neighbour).items
    assert item == Neighbour.model_validate(MONET | {"prompts": AB * 4})
    (about,) = read_answer(
        '{"items": [{"kind": "Style", "aliases": null, "spellings": "V", "label": "x"}]}', TargetDescription
    ).items
    assert (about.kind, about.aliases, about.spellings) == ("style", (), ("V",))
    assert _values('{"items": [{"prompt": "x", "language": "DE"}, {"prompt": "y", "lang": "pt_BR"}]}', PromptWithLanguage) == [
        "de",
        "pt-BR",
    ]
    assert _values('{"items": [{"prompt": "x", "skill": "Spatial_Relation"}]}', PromptWithSkill) == ["spatial relation"]


@pytest.mark.parametrize(
    "changes", [{"kind": "movement"}, {"role": "maybe"}, {"may_contain_target": "sometimes"}, {"prompts": None}]
)
def test_what_is_not_sure_is_a_problem(changes):
    reading = read_answer(json.dumps({"items": [MONET | changes]}), Neighbour)
    assert reading.items == []
    assert next(iter(changes)) in reading.problems[0]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([80, 5, 0, 100], [80, 5, 0, 100]),
        (["4/10", "9 / 10", "42 out of 100"], [40, 90, 42]),
        (["42%", "7 %", "12.5%"], [42, 7, 13]),
        ([0.1, 0.42, 1], [10, 42, 100]),
        ([7.5, 3, 9, 10], [75, 30, 90, 100]),
        ([1, 2, 3, 4, 5, 6, 7, 8], [10, 20, 30, 40, 50, 60, 70, 80]),
        ([62.5, 7.5, 80], [63, 8, 80]),
        (["80", "5"], [80, 5]),
        ([0, 1, 1, 0], [0, 1, 1, 0]),
        ([5, 3, 8], [5, 3, 8]),
        ([1, 2, 3, 4, 5, 1, 2, 3], [1, 2, 3, 4, 5, 1, 2, 3]),
    ],
)
def test_a_scale_is_judged_by_the_whole_answer(given, read):
    text = json.dumps({"items": [{"number": place, "rating": rating} for place, rating in enumerate(given, start=1)]})
    assert _values(text, NumberedRating) == read


@pytest.mark.parametrize("given", [[7.5], [0.9, 85], [-3], [101], ["high"], ["12/10"], ["140%"], [True], [None]])
def test_an_unclear_rating_is_a_problem(given):
    text = json.dumps({"items": [{"number": place, "rating": rating} for place, rating in enumerate(given, start=1)]})
    reading = read_answer(text, NumberedRating)
    assert [item.rating for item in reading.items] == [rating for rating in given if rating == 85]
    assert reading.problems


def test_a_later_rating_keeps_the_scale_of_the_earlier_ones():
    assert read_answer('{"items": [{"number": 1, "rating": 7}]}', NumberedRating, scale=10).items[0].rating == 70
    assert read_answer('{"items": [{"number": 1, "rating": 70}]}', NumberedRating, scale=10).items[0].rating == 70


def test_numbers_are_read_in_short_forms():
    assert _values("[3, 1, 2]", RankedNumber) == [3, 1, 2]
    assert _values('{"ranking": ["3", "#1"]}', RankedNumber) == [3, 1]
    assert _values('{"1": 40, "2": 60}', NumberedRating) == [40, 60]
    assert _values('{"items": [{"number": "2.", "rating": 4/10}, {"number": 3, "rating": 42 of 100}]}', NumberedRating) == [
        40,
        42,
    ]
    assert _values('{"rating": "0.7"}', SimilarityRating) == [70]


def test_refusals_are_told_from_answers():
    assert read_answer('{"items": [{"prompt": "I cannot provide this"}]}', PlainPrompt).refused
    assert read_answer('{"error": "I\'m sorry, but I can\'t help with that."}', PlainPrompt).problems == [REFUSED]
    assert read_answer("<think>Is it safe?</think>That is not something I can do.", PlainPrompt).refused
    some = read_answer(
        'I\'m sorry, I can only give one: {"items": [{"prompt": "a"}, {"prompt": "I can\'t provide it"}]}', PlainPrompt
    )
    assert ([item.prompt for item in some.items], some.problems, some.refused) == (["a"], ["Item 2 is a refusal."], False)


@pytest.mark.parametrize("item_type", list(EXAMPLES))
def test_the_example_of_a_type_is_a_valid_answer(item_type):
    reading = read_answer(example_answer(item_type), item_type)
    assert (reading.items, reading.problems, reading.deviations) == ([EXAMPLES[item_type]], [], frozenset())


# For all texts.

LETTERS = st.text(st.sampled_from("ab 1{}[]\"':,/\\<>|.-*\n#%") | st.characters(exclude_categories=()), max_size=200)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["items", "prompt", "number", "rating", "kind", "1", "x", "prompts", ""]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(TYPES), LETTERS | JSON.map(json.dumps) | JSON.map(repr), st.booleans(), st.sampled_from([1, 10, 100]))
@settings(max_examples=150, deadline=None)
def test_no_text_raises_and_no_item_is_invalid(item_type, text, cut_off, scale):
    reading = read_answer(text, item_type, cut_off=cut_off, scale=scale)
    for item in reading.items:
        assert item_type.model_validate_json(item.model_dump_json()) == item
    assert not (reading.refused and reading.items)


WORD = st.text(st.characters(categories=["Ll", "Lu", "Nd"]) | st.sampled_from(" {}[]\",:'\\/"), min_size=1, max_size=40)


@given(st.lists(WORD, min_size=1, max_size=8), st.integers(0, 2), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_valid_answer_gives_exactly_its_items(texts, spaces, ascii_only):
    items = []
    for text in texts:
        try:
            items.append(PlainPrompt(prompt=text))
        except ValueError:
            assume(False)
    text = json.dumps({"items": [item.model_dump() for item in items]}, indent=spaces or None, ensure_ascii=ascii_only)
    for framed in (text, f"Here:\n```json\n{text}\n```", f"<think>no</think>{text}"):
        reading = read_answer(framed, PlainPrompt)
        assert (reading.items, reading.problems, reading.deviations) == (items, [], frozenset())


@pytest.mark.parametrize("cut_string", ['"0}', '"0}"', '"0} b', '"0} {b', '"0}]}', r'"0} \"b'])
def test_a_prompt_that_was_cut_off_after_a_bracket_is_left_out(cut_string):
    text = '{"items": [{"prompt": "a"}, {"prompt": ' + cut_string
    assert [item.prompt for item in read_answer(text, PlainPrompt, cut_off=True).items] == ["a"]


@pytest.mark.parametrize("text", ['a 12" ruler', "6'2\" tall"])
def test_a_stray_quotation_mark_in_a_whole_answer_loses_no_prompt(text):
    answer = '{"items": [{"prompt": "a house"}, {"prompt": "' + text + '"}]}'
    first, second = read_answer(answer, PlainPrompt).items
    assert first.prompt == "a house"
    assert second.prompt.startswith(text)


@given(st.lists(WORD, min_size=2, max_size=8), st.data())
@settings(max_examples=100, deadline=None)
def test_an_answer_cut_off_anywhere_gives_a_beginning_of_its_items(texts, data):
    try:
        items = [PlainPrompt(prompt=text) for text in texts]
    except ValueError:
        assume(False)
    text = json.dumps({"items": [item.model_dump() for item in items]}, ensure_ascii=False)
    cut = data.draw(st.integers(0, len(text) - 1))
    read = read_answer(text[:cut], PlainPrompt, cut_off=True).items
    assert read == items[: len(read)]


HOSTILE = {
    "braces": "{",
    "brackets": "[",
    "nested objects": '{"a":',
    "nested lists of objects": '[{"a":',
    "quotes": '"',
    "quotes in quotes": '{"a": "b "c "d ',
    "objects without an end": '{"a"\n',
    "lists without an end": '["a" ',
    "empty objects": "{}",
    "numbers": "1,",
    "comments": "{}/* */",
    "faulty items": '{"prompt":"a",},',
    "strings without an end": '{"prompt": "a}' + "\\\\" * 9,
    "faulty lists": '{"a":[[[[[[[["b}',
    "thoughts": "<think>",
    "ends of thoughts": "</think>",
    "channels": "<|channel|>",
    "lines": "1. a\n",
    "apologies": "sorry ",
    "slashes": "//",
    "escapes": '\\"',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("start", ["", '{"items": ['])
def test_hostile_answers_take_little_time(name, start):
    text = start + HOSTILE[name] * (MAXIMUM_ANSWER_BYTES // len(HOSTILE[name]))
    started = time.process_time()
    for item_type in (PlainPrompt, NumberedRating):
        read_answer(text, item_type)
    assert time.process_time() - started < 2.0
