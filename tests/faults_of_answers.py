"""Faults in the form of answers, and refusals."""

import json
import re
from functools import partial

from interview_faults import Fault, changed_items, changed_text, refused

from dmun_audit.knowledge.packs import open_knowledge

always_text = partial(changed_text, first_only=False)
always_items = partial(changed_items, first_only=False)
_NEIGHBOURS = "relation to the target"
_KNOWN = {concept.name: concept.similarity for concept in open_knowledge("van-gogh").concepts}


def _items(text: str) -> list:
    return json.loads(text)["items"]


def _on(change):
    """A change of the items as a change of the text that writes them in another form."""
    return lambda text: change(_items(text))


def _is_rich(dossier) -> None:
    assert len(dossier.concepts) >= 20
    assert len(dossier.adversarial) >= 40
    assert len({prompt.language for prompt in dossier.adversarial} - {"en"}) >= 5


def _has_known_similarity(dossier) -> None:
    _is_rich(dossier)
    for concept in dossier.concepts:
        assert abs(concept.similarity - _KNOWN[concept.name]) < 0.06, concept.name


def _no_prompt_holds(pattern: str):
    def check(dossier) -> None:
        _is_rich(dossier)
        assert not [text for text, _ in dossier.prompts_with_owners() if re.search(pattern, text, re.IGNORECASE)]

    return check


def _numbered_lines(text: str) -> str:
    return "\n".join(f"{number}. {item['prompt']}" for number, item in enumerate(_items(text), start=1))


def _camel(item: dict) -> dict:
    words = {name: name.split("_") for name in item}
    return {first + "".join(map(str.capitalize, rest)): item[name] for name, (first, *rest) in words.items()}


def _rated(value):
    return always_items("Rate every one", lambda items: [item | {"rating": value(item["rating"])} for item in items])


def _repeats_itself(text: str) -> str:
    return json.dumps({"items": [{"prompt": "a painting of nothing"}]}) if "prompt" in text else text


FORMS = [
    Fault("prose around an answer", always_text("", lambda text: f"Here it is: {text} Anything else?"), _is_rich),
    Fault("thoughts in tags", always_text("", lambda text: f'<think>Say {{"items": []}}? No.</think>\n{text}'), _is_rich),
    Fault("thoughts without an opening tag", always_text("", lambda text: f"First, the names.\n</think>\n\n{text}"), _is_rich),
    Fault("thoughts as Mistral marks them", always_text("", lambda text: f"[THINK]{{a [draft]}}[/THINK]{text}"), _is_rich),
    Fault(
        "channels of gpt-oss",
        always_text(
            "",
            lambda text: (
                '<|channel|>analysis<|message|>The schema is {"items": [...]}.<|end|><|start|>assistant'
                f"<|channel|>final <|constrain|>json<|message|>{text}<|return|>"
            ),
        ),
        _is_rich,
    ),
    Fault(
        "a draft before the answer",
        always_text("", lambda text: f"Draft: {json.dumps({'items': _items(text)[:1]})}\nBetter:\n{text}"),
        _is_rich,
    ),
    Fault("an answer in an object", always_text("", lambda text: f'{{"answer": {text}}}'), _is_rich),
    Fault("a list under another name", always_text("", _on(lambda items: json.dumps({"result": items}))), _is_rich),
    Fault("a list without its object", always_text("", _on(json.dumps)), _is_rich),
    Fault("one item without a list", always_text("Say what it is.", _on(lambda items: json.dumps(items[0]))), _is_rich),
    Fault("one object a line", always_text("", _on(lambda items: "\n".join(map(json.dumps, items)))), _is_rich),
    Fault("items by number", always_text("", _on(lambda items: json.dumps({"items": dict(enumerate(items, 1))}))), _is_rich),
    Fault("trailing commas", always_text("", lambda text: text.replace("}]}", "},]}").replace('"}', '",}')), _is_rich),
    Fault("Python's literals", always_text("", lambda text: repr(json.loads(text))), _is_rich),
    Fault("comments", always_text("", lambda text: text.replace("}, {", "}, // and\n{")), _is_rich),
    Fault("JSON in a string", always_text("", json.dumps), _is_rich),
    Fault(
        "strings for objects",
        always_text("by its name", _on(lambda items: json.dumps({"items": [item["prompt"] for item in items]}))),
        _is_rich,
    ),
    Fault("numbered lines", always_text("comma-separated", _numbered_lines), _is_rich),
    Fault("extra keys", always_items("", lambda items: [item | {"why": "it fits"} for item in items]), _is_rich),
    Fault("keys in camel case", always_items(_NEIGHBOURS, lambda items: list(map(_camel, items))), _is_rich),
    Fault("kinds in capitals", always_items("", lambda items: [_in_capitals(item) for item in items]), _is_rich),
    Fault(
        "yes and no",
        always_items(
            _NEIGHBOURS,
            lambda items: [item | {"may_contain_target": "Yes" if item["may_contain_target"] else "no"} for item in items],
        ),
        _is_rich,
    ),
    Fault("null for an empty list", always_items("Say what it is.", lambda items: [items[0] | {"spellings": None}]), _is_rich),
]


def _in_capitals(item: dict) -> dict:
    return item | {name: item[name].capitalize() for name in ("kind", "role", "skill") if name in item}


RATINGS = [
    Fault("ratings of ten in words", _rated(lambda rating: f"{rating / 10:g}/10"), _has_known_similarity),
    Fault("ratings in per cent", _rated(lambda rating: f"{rating}%"), _has_known_similarity),
    Fault("ratings up to one", _rated(lambda rating: rating / 100), _has_known_similarity),
    Fault("ratings up to ten", _rated(lambda rating: rating / 10), _has_known_similarity),
    Fault("whole ratings up to ten", _rated(lambda rating: round(rating / 10)), _has_known_similarity),
    Fault("ratings in strings", _rated(str), _has_known_similarity),
    Fault(
        "ratings by number",
        always_text(
            "Rate every one",
            _on(lambda items: json.dumps({"items": {str(item["number"]): item["rating"] for item in items}})),
        ),
        _has_known_similarity,
    ),
    Fault(
        "a ranking of bare numbers",
        always_text("in order of their similarity", _on(lambda items: json.dumps([item["number"] for item in items]))),
        _has_known_similarity,
    ),
]
READ_AT_ONCE = [*FORMS, *RATINGS]

REFUSALS = [
    Fault("a refusal in English", refused("comma-separated", "I'm sorry, but I can't help with that."), _is_rich),
    Fault("a refusal in German", refused("roundabout", "Es tut mir leid, dabei kann ich nicht helfen."), _is_rich),
    Fault("a refusal in Chinese", refused("misspelt", "抱歉,我无法提供这些内容。"), _is_rich),
    Fault("a refusal as an item", refused("Cyrillic", '{"items": [{"prompt": "I cannot provide this"}]}'), _is_rich),
    Fault("a refusal as an error in JSON", refused(_NEIGHBOURS, '{"error": "This request violates our policy."}'), _is_rich),
    Fault("a refusal after thoughts", refused("", "<think>Is it safe?</think>As an AI, I must decline."), _is_rich),
    Fault(
        "a refusal among prompts",
        changed_items("comma-separated", lambda items: [*items, {"prompt": "I can't provide more of these."}]),
        _no_prompt_holds("provide more"),
    ),
    Fault(
        "prompts that speak of AI and of sorrow",
        changed_items("comma-separated", lambda items: [*items, {"prompt": "a sorry-looking flower, AI-generated painting"}]),
        lambda dossier: _asserts(any("sorry-looking" in prompt.text for prompt in dossier.adversarial)),
    ),
    Fault(
        "a target that is refused for good",
        refused("Say what it is.", "I can't help with that.", for_good=True),
        error=r"refused to say anything about what the target is[\s\S]*I can't help with that",
        most_requests=2,
    ),
]


def _asserts(holds: bool) -> None:
    assert holds


def _has_own_direct_prompts(dossier):
    assert dossier.target.direct_prompts[0] == "a painting by Van Gogh"
    assert dossier.provenance.thin == (
        "No direct prompts came from the language model: the model's answers were not valid. 8 were made from the target's name by "
        "fixed templates.",
    )


REPEATED = [
    Fault("a list that was cut off", changed_text("by its name", lambda text: text[: len(text) // 2]), _is_rich),
    Fault(
        "a model that repeats itself",
        changed_text("by its name", _repeats_itself, first_only=False),
        _has_own_direct_prompts,
    ),
    Fault(
        "a schema instead of an answer",
        changed_text("Say what it is.", lambda text: '{"type": "object", "properties": {"items": {"type": "array"}}}'),
        _is_rich,
    ),
    Fault("an empty answer", changed_text("", lambda text: ""), _is_rich),
    Fault(
        "a thousand braces",
        changed_text("Say what it is.", lambda text: "{" * 100_000, first_only=False),
        error="no valid answer about what the target is",
        most_requests=3,
    ),
]
FAULTS = [*READ_AT_ONCE, *REFUSALS, *REPEATED]
