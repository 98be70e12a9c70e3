"""Words that stand where a name, a label or a prompt should be: placeholders, and words of the schemas that a model is sent."""

from __future__ import annotations

import re

from dmun_audit.knowledge.words.content_words import content_words
from dmun_audit.knowledge.words.texts import fold, skeleton

# fmt: off
_WORDS = frozenset([  # compared without spaces, hyphens and case
    # placeholders of any text
    "asdf", "bar", "baz", "blank", "changeme", "dummy", "empty", "etc", "example", "examples", "exampleprompt", "fixme", "foo",
    "foobar", "na", "nil", "none", "notapplicable", "notavailable", "null", "placeholder", "pleasefill", "qwerty", "sample",
    "sampletext", "tba", "tbd", "todo", "unknown", "undefined", "untitled", "yourprompt", "yourprompthere", "yourtext", "xxx",
    # types and values of JSON Schema
    "additionalproperties", "array", "boolean", "enum", "false", "integer", "items", "maxitems", "minitems", "number", "properties",
    "required", "string", "title", "true", "type",
    # fields and titles of the answers that an interview asks for
    "abouttarget", "aliases", "alias", "composed", "conceptname", "foreign", "identity", "improved", "item", "kind", "label",
    "labels", "language", "looked", "maycontaintarget", "name", "names", "neighbor", "neighbour", "neighbours", "plain", "prompt",
    "prompts", "proposed", "ranked", "rated", "rating", "relabelled", "role", "samething", "same", "skill", "spelling", "spellings",
    "strategy", "targetname", "targetdescription", "what",
])
_NUMBERED = re.compile(
    r"^(?:alias|answer|concept|entry|example|item|label|language|name|neighbou?r|object|option|placeholder|prompt|sample|spelling|"
    r"string|style|target|text|thing|value|work)[\s_#:.-]*(?:\d+|[a-z])(?:\s*(?:of|/)\s*\d+)?$"
)
# fmt: on
_WITHIN = re.compile(
    r"lorem ipsum|\bplaceholder\b|\{\{|\}\}|\[(?:insert|your|name|prompt|concept)\b|\binsert \w+ here\b|\bmay[_ ]contain[_ ]target\b|"
    r"\babout ?target\b|\bconcept \d+ of \d+\b"
)
_FRAME = re.compile(r"^(?:an? |the )?(?:photo|photograph|painting|picture|image|drawing|cartoon)s? (?:of|by) (?:an? |the )?")


def is_placeholder(text: str) -> bool:
    """Whether `text` names nothing: a placeholder such as "Concept 1 of 1228" or "TBD", or a word of a schema."""
    folded = fold(text)
    return any(_names_nothing(part) for part in (folded, _FRAME.sub("", folded))) or bool(_WITHIN.search(folded))


def _names_nothing(folded: str) -> bool:
    return bool(_NUMBERED.match(folded)) or re.sub(r"[\W_]+", "", folded) in _WORDS


def says_only_the_medium(text: str) -> bool:
    """Whether `text` says how a picture was made and not what it shows, as "a photo" does: it tells no concepts apart."""
    return bool(skeleton(text)) and not content_words(text)
