"""Which of the names that a model gives a target are asked about again, and with which decoys."""

import pytest

from dmun_audit.knowledge.alias_doubts import is_surely_a_name, shares_a_word, unfitness
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.interview.aliases import DECOYS, PARENTS, TargetNames, decoys_for
from dmun_audit.knowledge.interview.dropped import FEW_PROMPTS, NAMES_TARGET, REPEATED_LABEL, Dropped
from dmun_audit.knowledge.packs import open_knowledge, pack_names


@pytest.mark.parametrize("name", ["VanGogh", "Van Goh", "Van Gogh style", "the Van Gogh", "Ван Гог", "반 고흐", "فان جوخ"])
def test_another_spelling_needs_no_second_question(name):
    assert is_surely_a_name(name, "Van Gogh")


@pytest.mark.parametrize(
    "name", ["Vincent van Gogh", "Theo van Gogh", "Claude Monet", "Vincent", "梵高", "церковь", "Sunflowers"]
)
def test_every_other_name_needs_one(name):
    assert not is_surely_a_name(name, "Van Gogh")


def test_the_names_of_the_packs_are_fit():
    for pack in map(open_knowledge, pack_names()):
        for name in (*pack.target.aliases, *pack.target.spellings):
            assert unfitness(name, pack.target.name, pack.target.kind) == ""


def test_a_movement_that_shares_a_word_with_the_target_is_fit():
    assert unfitness("Analytical Cubism", "Cubism", "style") == ""
    assert unfitness("Impressionism", "Cubism", "style")


@pytest.mark.parametrize("pack", pack_names())
def test_decoys_are_no_names_of_the_target(pack):
    target = open_knowledge(pack).target
    decoys = decoys_for(target.name, target.kind, (*target.aliases, *target.spellings))
    assert len(decoys) == 3
    assert not any(shares_a_word(decoy, name) for decoy in decoys[:2] for name in (target.name, *target.aliases))


def test_a_proposed_name_is_never_a_decoy():
    for kind, names in DECOYS.items():
        for name in (*names, PARENTS[kind]):
            assert name not in decoys_for("Van Gogh", kind, (name,))


def test_the_second_question_shows_neither_the_first_answer_nor_which_names_are_decoys(brief, access, chat):
    build_dossier(brief, access)
    bodies = [body for body in chat.requests if "another name for exactly the same thing" in body["messages"][1]["content"]]
    assert len(bodies) == 1
    assert len(bodies[0]["messages"]) == 2
    asked = bodies[0]["messages"][1]["content"]
    listed = [line.split(". ", 1)[1] for line in asked.splitlines() if line[:1].isdigit()]
    assert {"Vincent van Gogh", "Vincent Willem van Gogh", "梵高", "painter"} < set(listed)
    assert "Винсент Ван Гог" not in listed  # sounds like the name
    assert sum(name in DECOYS["style"] for name in listed) == 2
    assert "style" not in asked.replace("painting in the style", "")


def test_a_name_that_the_model_gives_a_nearby_concept_is_refused_afterwards():
    names = TargetNames("Van Gogh", "style", ("Vincent van Gogh",), ("Claude Monet", "Vincent"), {})
    settled = names.without_neighbours({"claudemonet"})
    assert settled.all == ("Van Gogh", "Vincent van Gogh", "Vincent")
    assert settled.others == ("Claude Monet",)
    assert settled.remarks() == (
        "The name 'Claude Monet' of the target was dropped: the language model names it as a nearby concept too.",
    )
    assert settled.label("a painting by Vincent") == "a painting by Vincent"
    assert settled.label("a painting by Claude Monet") == "a painting by Van Gogh"


def test_a_part_of_an_object_may_be_called_as_the_whole_is():
    names = TargetNames("sunflowers", "object", (), ("helianthus",), {})
    assert names.without_neighbours(set(), {"helianthus"}).all == ("sunflowers", "helianthus")
    painter = TargetNames("Van Gogh", "style", (), ("The Starry Night",), {})
    assert painter.without_neighbours(set(), {"starrynight"}).all == ("Van Gogh",)


def test_what_was_dropped_is_counted_by_its_reason():
    reasons = dict.fromkeys("abcdef", REPEATED_LABEL) | dict.fromkeys("xyz", NAMES_TARGET) | {"kept": FEW_PROMPTS}
    dropped = Dropped(reasons, repeated=5)
    assert dropped.sentence({"kept"}) == "14 concepts were dropped: 6 repeated a label, 5 were given twice, 3 named the target"
    assert Dropped({}, repeated=1).sentence(()) == "1 concept was dropped: 1 was given twice"
    assert Dropped({"kept": FEW_PROMPTS}).sentence({"kept"}) == ""
