"""When two names are one concept, when a text names nothing, and when a prompt mentions its concept."""

import pytest
from pydantic import BaseModel

from dmun_audit.knowledge.interview import aliases, answers, labels
from dmun_audit.knowledge.packs import open_knowledge, pack_names
from dmun_audit.knowledge.words.identity import identity
from dmun_audit.knowledge.words.mentions import mentions
from dmun_audit.knowledge.words.placeholders import is_placeholder, says_only_the_medium

# fmt: off
ONE_CONCEPT = [
    "claude monet", "Claude Monets", "Claude Monet (artist)", "Monet, Claude", "CLAUDE MONÉT", "Claude-Monet", "the Claude Monet",
    "Claude Monet (1840-1926)", "Claude Monet's", "\u0421laude M\u043enet", "Claude  Monet [painter]",
]
NOTHING = [
    "Concept 1 of 1228", "May Contain Target", "may_contain_target", "AboutTarget", "Item 1", "string", "name", "example", "N/A",
    "TBD", "lorem ipsum dolor", "a photo of string", "prompt 3", "Concept A", "[insert concept]", "your prompt here", "label #2",
]
# fmt: on


@pytest.mark.parametrize(
    "name",
    ONE_CONCEPT,
)
def test_one_concept_in_many_spellings(name):
    assert identity(name) == identity("Claude Monet")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mercury (planet)", "Mercury (metal)"),
        ("Jaguar (car)", "Jaguar (animal)"),
        ("Prince (singer)", "prince"),
        ("Claude Monet", "Édouard Manet"),
        ("glass", "glas"),
        ("milk chocolate", "chocolate milk"),
        ("bus", "bu"),
        ("Paul Signac", "Paul Gauguin"),
    ],
)
def test_two_concepts_stay_two(one, other):
    assert identity(one) != identity(other)


def test_plurals_are_one_with_their_singular():
    pairs = [("churches", "church"), ("berries", "berry"), ("foxes", "fox"), ("a tree", "trees"), ("Sunflowers", "sunflower")]
    assert all(identity(one) == identity(other) for one, other in pairs)


def test_concepts_of_the_packs_are_all_different():
    for pack in map(open_knowledge, pack_names()):
        assert len({identity(concept.name) for concept in pack.concepts}) == len(pack.concepts)


@pytest.mark.parametrize(
    "text",
    NOTHING,
)
def test_placeholders(text):
    assert is_placeholder(text)


def test_every_field_and_title_of_an_answer_is_a_placeholder():
    modules = (answers, aliases, labels)
    types = {
        kind for module in modules for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, BaseModel)
    }
    words = {word for kind in types for word in (*kind.model_fields, str(kind.model_config.get("title", "name")))}
    assert {word for word in words if not is_placeholder(word)} <= {"reason"}


def test_nothing_in_the_packs_is_a_placeholder():
    for pack in map(open_knowledge, pack_names()):
        texts = [text for text, _ in pack.prompts_with_owners()]
        texts += [each for concept in pack.concepts for each in (concept.name, concept.label)]
        assert [text for text in texts if is_placeholder(text)] == []
        assert not any(says_only_the_medium(concept.label) for concept in pack.concepts)


def test_a_label_may_not_say_the_medium_alone():
    assert all(map(says_only_the_medium, ("a photo", "an oil painting", "a picture of a drawing")))
    assert not any(map(says_only_the_medium, ("a photo of a house", "Claude Monet", "教堂")))


@pytest.mark.parametrize(
    ("prompt", "name", "label"),
    [
        ("a house by Monet", "Claude Monet", "a painting by Claude Monet"),
        ("a post-impressionist painting", "Post-Impressionism", ""),
        ("two wolves in the snow", "wolf", ""),
        ("a speaker in a T-shirt", "man in a black T-shirt on stage", ""),
        ("a team of huskies", "Siberian husky", ""),
        ("a red car", "automobile", "a photo of a car"),
        ("men in suits", "man in a suit", ""),
    ],
)
def test_a_prompt_mentions_its_concept_in_some_form(prompt, name, label):
    assert mentions(prompt, name, label)


def test_a_prompt_of_another_concept_does_not_mention_this_one():
    assert not mentions("a red boat at noon", "Claude Monet", "a painting by Claude Monet")
    assert not mentions("a painting of a house", "a painting by Claude Monet", "")
    pairs = [
        mentions(text, concept.name, concept.label)
        for pack in map(open_knowledge, ("van-gogh", "church", "elon-musk"))
        for concept in pack.concepts
        for other in pack.concepts
        if other is not concept
        for text in other.prompts[:2]
    ]
    assert sum(pairs) / len(pairs) < 0.06
