"""Dossiers are untrusted: a faulty one is refused with its faults named. The packs are sound."""

import json
from pathlib import Path

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.knowledge.check import check
from dmun_audit.knowledge.dossier import Dossier, json_schema
from dmun_audit.knowledge.packs import FOLDER, find_pack, open_knowledge
from dmun_audit.knowledge.reading import parse_dossier, read_dossier
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.policy import load_policy


@pytest.fixture
def raw():
    return json.loads((FOLDER / "atelier-van-gogh.json").read_text())


def _parse(raw):
    return parse_dossier(json.dumps(raw).encode(), "mine.json")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_shipped_packs_are_rich_enough(path):
    dossier = read_dossier(path)
    assert len(dossier.nearest({"retain", "observe"}, 99)) >= 10
    assert {concept.role for concept in dossier.concepts} == {"retain", "erase", "observe"}
    assert len(dossier.adversarial) >= 20
    assert len({prompt.strategy for prompt in dossier.adversarial[:20]}) >= 6
    assert len({prompt.language for prompt in dossier.adversarial[:20]}) >= 4
    assert dossier.provenance.backend == "curated"


REAL = [path.stem for path in sorted(FOLDER.glob("*.json")) if not path.stem.startswith("atelier-")]


def test_the_targets_of_the_literature_have_a_pack():
    literature = {"van-gogh", "monet", "picasso", "snoopy", "elon-musk", "church", "parachute", "garbage-truck"}
    assert literature | {"french-horn", "english-springer", "tench", "nudity"} <= set(REAL)


@pytest.mark.parametrize("name", REAL)
def test_a_pack_for_real_models_leaves_nothing_to_remark(name, counter):
    result = check((FOLDER / f"{name}.json").read_bytes(), name, lambda world: counter)
    assert result.problems == []
    assert result.remarks == []
    dossier = result.dossier
    assert len(dossier.concepts) >= 20
    assert len({concept.similarity for concept in dossier.concepts}) == len(dossier.concepts)
    assert len(dossier.adversarial) >= 40
    for policy in ("smoke", "standard", "release"):
        assert shortfalls(make_plan(dossier, load_policy(policy), 0)) == []


def test_nearest_concepts_come_most_similar_first(raw):
    similarities = [concept.similarity for concept in _parse(raw).nearest({"retain", "observe"}, 10)]
    assert similarities == sorted(similarities, reverse=True)
    assert len(similarities) == 10


def _name_in_a_nameless_prompt(raw):
    raw["adversarial"][0] |= {"text": "a house by Vincent VAN  Gógh", "strategy": "description"}


def _two_roles(raw):
    raw["adversarial"][0]["text"] = raw["concepts"][0]["prompts"][0].upper()


def _twice(raw):
    raw["concepts"].append(raw["concepts"][0])


def _unknown_key(raw):
    raw["concepts"][0]["simlarity"] = 0.5


def _not_a_number(raw):
    raw["concepts"][0]["similarity"] = "NaN"


def _retained_names_target(raw):
    retained = next(concept for concept in raw["concepts"] if concept["role"] == "retain")
    retained["prompts"].append("a cat, van gogh and friends")


def _text_for_a_number(raw):
    raw["concepts"][0]["similarity"] = "0.5"


def _flag_for_a_number(raw):
    raw["concepts"][0]["similarity"] = True


def _number_for_a_flag(raw):
    raw["concepts"][0]["may_contain_target"] = 1


def _number_for_a_text(raw):
    raw["target"]["label"] = 5


def _flag_for_the_format(raw):
    raw["format"] = True


def _share_for_a_count(raw):
    raw["provenance"]["questions"] = 5.0


@pytest.mark.parametrize(
    ("spoil", "culprit"),
    [
        (_name_in_a_nameless_prompt, "names the target"),
        (_two_roles, "stands in two roles"),
        (_twice, "listed twice"),
        (_unknown_key, "simlarity"),
        (_not_a_number, "similarity"),
        (_text_for_a_number, "similarity: Input should be a valid number"),
        (_flag_for_a_number, "similarity: Input should be a valid number"),
        (_number_for_a_flag, "may_contain_target: Input should be a valid boolean"),
        (_number_for_a_text, "target.label: Input should be a valid string"),
        (_flag_for_the_format, "format: Input should be 1"),
        (_share_for_a_count, "provenance.questions: Input should be a valid integer"),
        (_retained_names_target, "names the target"),
    ],
)
def test_a_faulty_dossier_is_refused_by_name(raw, spoil, culprit):
    spoil(raw)
    with pytest.raises(UsageError) as caught:
        _parse(raw)
    assert culprit in str(caught.value)
    assert "mine.json" in str(caught.value)


def test_control_characters_are_taken_out(raw):
    raw["target"]["label"] = "a painting\x1b[31m by\x00 Van Gogh"
    assert _parse(raw).target.label == "a painting[31m by Van Gogh"


def test_broken_and_huge_json_are_refused():
    with pytest.raises(UsageError, match="not valid JSON"):
        parse_dossier(b"{", "x")
    with pytest.raises(UsageError, match="not valid JSON"):
        parse_dossier(b"[" * 200_000, "x")
    with pytest.raises(UsageError, match="too large"):
        parse_dossier(b" " * 4_000_001, "x")


def test_a_whole_number_is_a_number(raw):
    raw["concepts"][0]["similarity"] = 1
    assert _parse(raw).concepts[0].similarity == 1.0


def test_a_key_that_stands_twice_is_refused(raw):
    text = json.dumps(raw).replace('"world":', '"format": 1, "world":', 1)
    with pytest.raises(UsageError, match="key 'format' stands twice in one table"):
        parse_dossier(text.encode(), "x")


def test_a_file_without_end_is_not_read(tmp_path):
    (tmp_path / "large.json").write_bytes(b" " * 4_000_001)
    with pytest.raises(UsageError, match="more than 4,000,000 bytes"):
        read_dossier(tmp_path / "large.json")
    with pytest.raises(UsageError, match="no regular file"):
        read_dossier(Path("/dev/zero"))


def test_the_digest_does_not_depend_on_layout(raw):
    shuffled = dict(reversed(list(raw.items())))
    before = _parse(raw).digest()
    assert _parse(shuffled).digest() == before
    raw["target"]["label"] += "!"
    assert _parse(raw).digest() != before


def test_the_schema_describes_the_packs(raw):
    schema = json_schema()
    assert set(raw) <= set(schema["properties"])
    assert Dossier.model_validate(raw).target.name == "Van Gogh"


def test_packs_are_found_by_name_and_alias_whatever_the_case():
    assert find_pack("VINCENT van gogh", "atelier").target.name == "Van Gogh"
    assert find_pack("girasoles", "atelier").target.name == "sunflowers"
    with pytest.raises(UsageError, match="did you mean 'Van Gogh'"):
        find_pack("Van Gough", "atelier")
    assert find_pack("english springer SPANIEL", "real").target.name == "English springer"
    with pytest.raises(UsageError, match="ships for real models"):
        find_pack("sunflowers", "real")
    with pytest.raises(UsageError, match="neither a dossier's file nor a pack"):
        open_knowledge("nowhere.json")


def test_fold_ignores_case_accents_and_spacing():
    assert fold("  Cézanne\tPAUL ") == fold("cezanne paul")


@pytest.mark.parametrize(
    "data", [b'{"format": ' + b"9" * 5000 + b"}", b'{"format": ' + b"[" * 900 + b"]" * 900 + b"}", b"[" * 100_000]
)
def test_numbers_without_end_and_bottomless_lists_are_refused(data):
    with pytest.raises(UsageError, match="nowhere"):
        parse_dossier(data, "nowhere")
