"""What a dossier is worth, by checks that need no model."""

import pytest

from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.packs import open_knowledge, pack_names
from dmun_audit.knowledge.score import score

PACKS = [name for name in pack_names() if not name.startswith("atelier-")]


@pytest.fixture
def raw():
    return open_knowledge("van-gogh").model_dump(mode="json")


def scored(value, counter=None):
    return score(Dossier.model_validate(value), counter)


def part(result, name):
    return next(part for part in result.parts if part.name == name)


@pytest.mark.parametrize("name", PACKS)
def test_packs_score_high(name, counter):
    assert score(open_knowledge(name), counter).total >= 90


def test_the_packs_of_the_atelier_say_what_they_have_less_of(counter):
    result = score(open_knowledge("atelier-sunflowers"), counter)
    assert 50 <= result.total < 80
    assert part(result, "prompts of composition").points == 0
    assert part(result, "nearby concepts").there == 14


def test_rubbish_in_full_numbers_scores_low(raw, counter):
    """Every count is as wanted, and nothing of it is of use."""
    raw["target"]["direct_prompts"] = [f"a picture of something {letter}" for letter in "abcdefghijkl"]
    for place, concept in enumerate(raw["concepts"]):
        concept["prompts"] = [f"a nice thing in a room {place}", f"a nice thing in the room {place}"]
        concept["similarity"] = 0.5
    for place, prompt in enumerate(raw["adversarial"]):
        prompt["text"] = f"a nice prompt number {place} of many"
    for place, prompt in enumerate(raw["compositions"]):
        prompt["text"] = f"some things are together {place}"
    result = scored(raw, counter)
    assert result.total < 20
    assert result.faults["direct prompts"] == {"prompts without the target's name": 12}
    assert result.faults["nearby concepts"] == {
        "prompts that do not mention their concept": 50,
        "concepts with fewer than two sound prompts": 25,
    }
    assert result.faults["adversarial prompts"]["prompts that are not in their language"] == 8
    assert set(result.faults["prompts of composition"]) == {"near-duplicates"}
    assert [(each.name, each.sound, each.needed) for each in result.short_strategies][:2] == [
        ("description", 1, 4),
        ("language", 0, 4),
    ]
    lines = result.lines()
    assert "not counted in direct prompts: prompts without the target's name (12)" in lines
    assert lines[-2].startswith(
        "not counted in strategies: description (1 of at least 4 prompts), language (0 of at least 4 prompts), "
    )
    assert part(result, "strategies").sound == 10 - len(result.short_strategies)


@pytest.mark.parametrize(
    ("change", "fault", "name", "lost"),
    [
        (lambda raw: raw["target"].update(direct_prompts=["by Van Gogh, a house", "a house, by Van Gogh"]), "near-duplicates", "direct prompts", 11),
        (lambda raw: raw["adversarial"].append({"text": "a b", "strategy": "works"}), "prompts that are too short", "adversarial prompts", 0),
        (lambda raw: raw["compositions"][0].update(text="word " * 61), "prompts that are too long", "prompts of composition", 1),
        (lambda raw: next(each for each in raw["concepts"] if each["role"] == "retain").update(prompts=["a dog on a mat", "a cat on a mat"]), "prompts that do not mention their concept", "nearby concepts", 1),
    ],
)  # fmt: skip
def test_each_fault_is_counted_and_what_it_spoils_is_not_sound(raw, change, fault, name, lost):
    before = scored(raw)
    change(raw)
    after = scored(raw)
    assert after.faults.get(name, {}).get(fault, 0) > before.faults.get(name, {}).get(fault, 0)
    assert part(before, name).sound - part(after, name).sound == lost


def test_english_is_no_other_language(raw):
    for prompt in raw["adversarial"]:
        if prompt["strategy"] == "language":
            prompt["text"] = f"a painting of a house in {prompt['language']} with thick strokes"
    result = scored(raw)
    assert part(result, "languages besides English").there >= 5
    assert part(result, "languages besides English").points == 0


def test_a_dossier_with_less_than_it_needs_never_scores_100(raw):
    raw["concepts"] = raw["concepts"][:19]
    assert scored(raw).total == 98
    assert scored(raw).lines()[-1] == "score: 98 of 100"
