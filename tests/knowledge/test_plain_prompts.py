"""Plain prompts far from a target: the shipped lists and a list of the user's own."""

import codecs

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.packs import find_pack, open_knowledge, pack_names
from dmun_audit.knowledge.plain_prompts import far_prompts, read_prompts, shipped_prompts
from dmun_audit.knowledge.words.content_words import content_words
from dmun_audit.knowledge.words.names import names_of
from dmun_audit.knowledge.words.texts import fold

VAN_GOGH = find_pack("Van Gogh", "atelier")


@pytest.mark.parametrize("world", ["real", "atelier"])
def test_the_lists_are_long_enough_and_without_repetition(world):
    prompts = shipped_prompts(world)
    assert len(prompts) >= 32
    assert len({fold(prompt) for prompt in prompts}) == len(prompts)
    assert all(content_words(prompt) for prompt in prompts)
    if world == "real":
        assert len({content_words(prompt) for prompt in prompts}) == len(prompts)


@pytest.mark.parametrize("pack", pack_names())
@pytest.mark.parametrize("world", ["real", "atelier"])
def test_every_pack_gets_its_prompts_and_none_names_its_target(pack, world):
    dossier = open_knowledge(pack, world)
    prompts = far_prompts(dossier, 24)
    assert len(set(prompts)) == 24
    names = names_of(dossier.names, dossier.target.kind)
    assert not any(names.find_exact(prompt) for prompt in prompts)
    asked = {fold(prompt) for prompt, _ in dossier.prompts_with_owners()}
    assert asked.isdisjoint(map(fold, prompts))


def test_the_main_noun_of_the_target_is_near_it():
    assert "a blue pickup truck in a driveway" in shipped_prompts("real")
    assert "a blue pickup truck in a driveway" not in far_prompts(open_knowledge("garbage-truck"), 40)


def test_prompts_of_the_least_similar_concepts_fill_up_the_list():
    sunflowers = find_pack("sunflowers", "atelier")  # every subject of the atelier is a nearby concept
    prompts = far_prompts(sunflowers, 24)
    assert not any("tulip" in prompt or "tree" in prompt for prompt in prompts)
    assert any("fish" in prompt for prompt in prompts)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_list_of_ones_own_is_read(tmp_path, encoding):
    path = tmp_path / "own.txt"
    path.write_text("# mine\n\n  a red bus  \na café\n", encoding=encoding)
    assert read_prompts(path) == ("a red bus", "a café")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no prompt"),
        (b"# nothing\n", "holds no prompt"),
        ("a café".encode("latin-1"), "no text in UTF-8"),
        (codecs.BOM_UTF16_LE + "a bus".encode("utf-16-le"), "no text in UTF-8"),
        (b"a bus\nA  BUS\n", "twice"),
        (b"a" * 601, "no valid prompt"),
        ("a \u202ebus".encode(), "no valid prompt"),
    ],
)
def test_a_list_that_will_not_do_is_one_error(tmp_path, content, words):
    path = tmp_path / "own.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_prompts(path)


def test_a_list_that_is_not_there_is_one_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompts(tmp_path / "no.txt")
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompts(tmp_path)


def test_ones_own_prompts_come_in_their_order_and_are_checked():
    own = [f"a red bus number {number}" for number in range(30)]
    assert far_prompts(VAN_GOGH, 24, own) == tuple(own[:24])
    with pytest.raises(UsageError, match="asks for 24"):
        far_prompts(VAN_GOGH, 24, own[:23])
    with pytest.raises(UsageError, match="names the target"):
        far_prompts(VAN_GOGH, 24, [*own, "a bus by van gogh"])
    with pytest.raises(UsageError, match="stands in the dossier"):
        far_prompts(VAN_GOGH, 24, [*own, "A house by Gauguin"])
