"""Prompts without certain names, and texts that mean the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmun_audit.knowledge.packs import find_pack, open_knowledge, pack_names
from dmun_audit.knowledge.remainders import concept_names, distinct, remainder
from dmun_audit.knowledge.words.content_words import content_words


@pytest.mark.parametrize(
    ("prompt", "names", "left"),
    [
        ("a painting of a house by Van Gogh", ["Van Gogh"], "a painting of a house"),
        ("a picture of a mountain painted by VAN GOGH", ["Van Gogh"], "a picture of a mountain"),
        ("a boat in the style of Van Gogh", ["Van Gogh"], "a boat"),
        ("a boat in the manner of Van Gogh, oil on canvas", ["Van Gogh"], "a boat, oil on canvas"),
        ("Van Gogh, a bridge", ["Van Gogh"], "a bridge"),
        ("a tree by Vincent van Gogh", ["Van Gogh", "Vincent van Gogh"], "a tree"),
        ("a cat by Cezanne", ["Cézanne"], "a cat"),
        ("a Van Gogh style painting of a cat", ["Van Gogh"], "painting of a cat"),
        ("Van Gogh's bedroom", ["Van Gogh"], "bedroom"),
        ("tulips in the style of Seurat", ["tulips"], "in the style of Seurat"),
        ("a painting of tulips by Monet", ["tulips"], "a painting by Monet"),
        ("a photo of a church", ["church"], "a photo"),
        ("two hot air balloons over vineyards", ["hot air balloon"], "two over vineyards"),
        ("a white church and a church tower", ["a church"], "a white tower"),
        ("a house by a painter", ["Van Gogh"], "a house by a painter"),
        ("Van Gogh", ["Van Gogh"], ""),
    ],
)
def test_names_and_what_leads_to_them_go(prompt, names, left):
    assert remainder(prompt, names) == left


@given(st.text(max_size=60), st.lists(st.text(max_size=12), max_size=3))
def test_any_text_has_a_remainder_that_holds_no_name(prompt, names):
    left = remainder(prompt, names)
    assert remainder(left, names) == left


@pytest.mark.parametrize("pack", pack_names())
def test_no_remainder_of_a_shipped_pack_names_its_concept(pack):
    dossier = open_knowledge(pack)
    for concept in dossier.concepts:
        names = (*concept_names(concept), *dossier.names)
        lefts = [remainder(prompt, names) for prompt in concept.prompts]
        if concept.kind == "style" and concept.role == "retain":
            assert all(content_words(left) for left in lefts)
        assert not any(f" {concept.name.casefold()} " in f" {left.casefold()} " for left in lefts)


def test_the_prompts_of_the_target_keep_their_subjects():
    dossier = find_pack("Van Gogh", "atelier")
    lefts = [content_words(remainder(prompt, dossier.names)) for prompt in dossier.target.direct_prompts]
    assert lefts[:4] == [("house",), ("boat",), ("tree",), ("mountain",)]
    assert len(set(lefts)) == len(lefts) == 12


def test_a_person_may_be_called_by_a_part_of_the_name():
    concepts = {concept.name: concept for concept in find_pack("Van Gogh", "atelier").concepts}
    assert "Rembrandt" in concept_names(concepts["Rembrandt van Rijn"])
    assert "van" not in concept_names(concepts["Rembrandt van Rijn"])
    flowers = next(concept for concept in find_pack("sunflowers", "atelier").concepts if concept.name == "flowers")
    assert concept_names(flowers) == ("flowers",)


def test_texts_that_mean_the_same_are_one():
    texts = ["a painting of a house", "a house", "a picture of a house", "the moon", "a photo of", "a house"]
    assert distinct(texts) == {
        ("house",): ("a painting of a house", "a house", "a picture of a house"),
        ("moon",): ("the moon",),
    }
