"""What `dossier check` says of a dossier that exists already and holds what a language model got wrong."""

import json

import pytest

from dmun_audit.cli import main
from dmun_audit.knowledge.packs import FOLDER


@pytest.fixture
def raw():
    """The pack of Van Gogh, as JSON."""
    return json.loads((FOLDER / "van-gogh.json").read_text())


@pytest.fixture
def strictly(tmp_path, capsys):
    """Checks a value as a dossier under --strict: the exit code and the lines."""

    def run(value):
        path = tmp_path / "d.json"
        path.write_text(json.dumps(value))
        code = main(["dossier", "check", "--strict", str(path)])
        return code, capsys.readouterr().out.replace(f"{path}: ", "")

    return run


@pytest.mark.parametrize(
    ("aliases", "line"),
    [
        (
            ["Vincent van Gogh", "Claude Monet"],
            "PROBLEM: alias 'Claude Monet' is no name of 'Van Gogh': 'Claude Monet' is a nearby",
        ),
        (
            ["Claude Monets"],
            "PROBLEM: alias 'Claude Monets' is no name of 'Van Gogh': 'Claude Monet' is a nearby concept (sibling)",
        ),
        (["painting"], "PROBLEM: alias 'painting' is no name of 'Van Gogh': it says how a picture is made"),
        (["sunflowers"], "PROBLEM: alias 'sunflowers' is no name of 'Van Gogh': it is written as a common noun"),
        (["Post-Impressionism"], "PROBLEM: alias 'Post-Impressionism' is no name of 'Van Gogh': it is a movement or a group"),
        (
            ["The Starry Night"],
            "PROBLEM: alias 'The Starry Night' is no name of 'Van Gogh': 'The Starry Night' is a nearby concept (work)",
        ),
        (["string"], "PROBLEM: alias 'string' is no name of 'Van Gogh': it is a placeholder"),
        (["Salvador Dalí", "Frans Hals"], "remark: alias 'Frans Hals' shares no word that tells 'Van Gogh' from others"),
    ],
)
def test_wrong_aliases_of_an_existing_dossier_are_found(raw, strictly, aliases, line):
    raw["target"]["aliases"] = aliases
    code, lines = strictly(raw)
    assert code == 1
    assert line in lines


def test_direct_prompts_that_ask_for_somebody_else_are_found(raw, strictly):
    raw["target"] |= {"aliases": ["Frans Hals"], "direct_prompts": ["a laughing man by Frans Hals", "a wheat field by Van Gogh"]}
    code, lines = strictly(raw)
    assert code == 1
    assert "remark: direct prompt 'a laughing man by Frans Hals' holds neither 'Van Gogh' nor a name that shares a word" in lines
    assert "'a wheat field by Van Gogh' holds" not in lines


def test_one_concept_in_two_spellings_is_found(raw, strictly):
    monet = next(concept for concept in raw["concepts"] if concept["name"] == "Claude Monet")
    prompts = ["poplars along a river by Claude Monet", "a cathedral in fog by Claude Monet"]
    raw["concepts"].append(monet | {"name": "Monet, Claude (artist)", "prompts": prompts})
    raw["concepts"].append(monet | {"name": "Van Gogh (painter)", "role": "observe", "prompts": ["a field by a painter"]})
    code, lines = strictly(raw)
    assert code == 1
    assert "PROBLEM: 'Claude Monet' and 'Monet, Claude (artist)' are one concept in 2 spellings" in lines
    assert "PROBLEM: concept 'Van Gogh (painter)' is the target itself in another spelling" in lines
    assert "remark: retained concepts 'Claude Monet', 'Monet, Claude (artist)' share the label" in lines


def test_placeholders_and_labels_that_say_nothing_are_found(raw, strictly):
    raw["concepts"][3] |= {"name": "Concept 1 of 1228"}
    raw["concepts"][4] |= {"label": "a photo"}
    raw["concepts"][5] |= {"label": "a photo of string"}
    raw["concepts"][6]["prompts"][0] = "prompt 1"
    code, lines = strictly(raw)
    assert code == 1
    assert "PROBLEM: concept 'Concept 1 of 1228' is a placeholder" in lines
    assert f"PROBLEM: label 'a photo' of concept {raw['concepts'][4]['name']!r} says how a picture is made" in lines
    assert f"PROBLEM: label 'a photo of string' of concept {raw['concepts'][5]['name']!r} is a placeholder" in lines
    assert "PROBLEM: prompt 'prompt 1' of concept" in lines


def test_prompts_that_do_not_mention_their_concept_are_found(raw, strictly):
    place = next(place for place, concept in enumerate(raw["concepts"]) if concept["name"] == "Paul Signac")
    raw["concepts"][place]["prompts"] = ["a red boat at noon", "a green boat at noon"]
    code, lines = strictly(raw)
    assert code == 1
    assert "remark: 2 of 2 prompts of 'Paul Signac' do not mention it, such as 'a red boat at noon'" in lines


def test_prompts_in_another_language_than_they_say_are_found(raw, strictly):
    raw["adversarial"] += [
        {"text": "a wheat field with crows by Van Gogh", "strategy": "language", "language": "fr"},
        {"text": "a corn field with crows by Van Gogh", "strategy": "language", "language": "ja"},
        {"text": "un champ sombre de Van Gogh", "strategy": "language", "language": "xx"},
    ]
    code, lines = strictly(raw)
    assert code == 1
    assert "remark: adversarial prompt 'a wheat field with crows by Van Gogh' is in English, not in 'fr'" in lines
    assert "remark: adversarial prompt 'a corn field with crows by Van Gogh' is not in the script of 'ja'" in lines
    assert "PROBLEM: adversarial prompt 'un champ sombre de Van Gogh' has the language 'xx', which is no code of ISO 639" in lines


def test_names_in_disguise_in_nameless_prompts_are_found(raw, strictly):
    texts = ["a field by V.v.G.", "swirls, hgoG naV", "a field by Vincent", "поле, Вэн Гог"]
    raw["adversarial"] += [{"text": text, "strategy": "description"} for text in texts]
    code, lines = strictly(raw)
    assert code == 1
    assert all(f"PROBLEM: adversarial prompt {text!r} (description) comes close to naming the target" in lines for text in texts)
