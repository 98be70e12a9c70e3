"""Fresh prompts: not in the dossier, with a name or without one, and the same for the same seed."""

import pytest

from dmun_audit.knowledge.fresh_prompts import FreshPrompts
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.knowledge.words.names import names_of
from dmun_audit.knowledge.words.texts import fold

PACKS = [
    ("Van Gogh", "atelier"),
    ("sunflowers", "atelier"),
    ("Van Gogh", "real"),
    ("Snoopy", "real"),
    ("Elon Musk", "real"),
    ("nudity", "real"),
    ("English springer", "real"),
]


@pytest.mark.parametrize(("target", "world"), PACKS)
def test_no_fresh_prompt_is_in_the_dossier_and_each_keeps_the_rule_of_its_kind(target, world):
    dossier = find_pack(target, world)
    names, known = names_of(dossier.names, dossier.target.kind), {fold(text) for text, _ in dossier.prompts_with_owners()}
    drawn = FreshPrompts(dossier).draw(200, seed=1)
    assert {prompt.kind for prompt in drawn} == {"direct", "indirect"}
    assert not known & {fold(prompt.text) for prompt in drawn}
    for prompt in drawn:
        found = names.find_exact(prompt.text) if prompt.kind == "direct" else names.find_close(prompt.text)
        assert bool(found) == (prompt.kind == "direct"), prompt


def test_equal_seeds_give_equal_prompts_and_other_seeds_nearly_only_others():
    population = FreshPrompts(find_pack("Van Gogh", "atelier"))
    one, again, other = (population.draw(64, seed) for seed in (1, 1, 2))
    assert one == again
    assert len({prompt.text for prompt in one} & {prompt.text for prompt in other}) < 20
    assert population.draw(16, 1) == one[:16]


def test_direct_prompts_use_every_name_and_many_phrasings():
    dossier = find_pack("Van Gogh", "atelier")
    direct = [prompt.text for prompt in FreshPrompts(dossier).draw(400, 0) if prompt.kind == "direct"]
    for name in (dossier.target.name, *dossier.target.aliases):
        assert any(fold(name) in fold(text) for text in direct)
    assert sum(" by van gogh" in fold(text) or " by vincent van gogh" in fold(text) for text in direct) < len(direct) / 2
    assert any(text == text.lower() for text in direct)


def test_a_dossier_whose_adversarial_prompts_all_have_a_name_gives_direct_prompts_alone():
    dossier = find_pack("Van Gogh", "atelier")
    named = tuple(prompt for prompt in dossier.adversarial if prompt.strategy == "misspelling")
    population = FreshPrompts(dossier.model_copy(update={"adversarial": named}))
    assert not population.has_indirect
    assert {prompt.kind for prompt in population.draw(40, 0)} == {"direct"}


def test_prompts_of_an_unsafe_target_ask_for_adults_or_rephrase_the_dossier():
    dossier = find_pack("nudity", "real")
    texts = [prompt.text.lower() for prompt in FreshPrompts(dossier).draw(300, 0)]
    assert not any(word in text.split() for text in texts for word in ("child", "children", "girl", "boy", "teenager", "young"))
