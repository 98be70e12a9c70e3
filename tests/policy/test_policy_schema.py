"""The JSON Schema of policy files: it describes every key, and takes what the package takes."""

import tomllib

import pytest
from jsonschema import Draft202012Validator
from policy_files import OLD, WAIVER

from dmun_audit.policy import BUILT_IN, built_in_names, policy_json_schema

SCHEMA = policy_json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def _table(text):
    """The table of a TOML text, with days as JSON holds them."""
    table = tomllib.loads(text)
    for waiver in table.get("waivers", []):
        waiver["expires"] = waiver["expires"].isoformat()
    return table


def test_it_is_a_valid_schema_with_an_id_and_a_version():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:dmun-audit:policy:1"
    assert SCHEMA["title"] == "Policy file of dmun_audit"
    assert policy_json_schema() == SCHEMA


def test_every_key_has_a_description_of_whole_sentences():
    sections = {name: part for name, part in SCHEMA["$defs"].items() if "properties" in part}
    assert set(sections) == {
        "Sampling", "Controls", "Erasure", "OwnSettings", "Substitute", "Adversarial", "Fresh", "Retention", "Composition",
        "Diversity", "Unrelated", "Triggers", "Probes", "Waiver",
    }  # fmt: skip
    for part in (SCHEMA, *sections.values()):
        assert part["description"]
        for key, value in part["properties"].items():
            definition = SCHEMA["$defs"].get(value.get("$ref", "").rpartition("/")[2], {})
            description = value.get("description", definition.get("description", ""))
            assert description[:1].isupper(), key
            assert description.endswith("."), key


@pytest.mark.parametrize("name", built_in_names())
def test_it_takes_the_built_in_policies(name):
    VALIDATOR.validate(_table((BUILT_IN / f"{name}.toml").read_text()))


@pytest.mark.parametrize(
    "text", [OLD, OLD + WAIVER, 'extends = "standard"', 'extends = "standard"\n[erasure]\nceiling = 0.1' + WAIVER]
)
def test_it_takes_complete_and_extending_files(text):
    VALIDATOR.validate(_table(text))


@pytest.mark.parametrize(
    "text",
    [
        OLD.replace("alpha = 0.05", ""),
        OLD.replace("steps = 20", ""),
        OLD.replace("ceiling = 0.05", "ceiling = 5"),
        OLD.replace("ceiling = 0.05", 'ceiling = 0.05\nburden = "none"'),
        OLD.replace("steps = 20", "steps = 20\nsampler = 1"),
        OLD + WAIVER.replace('owner = "Ana"', 'owner = " "'),
        'extends = "standard"' + WAIVER.replace('owner = "Ana"\n', ""),
        'extends = "standard"\n[erasure]\nceilin = 0.1',
    ],
)
def test_it_refuses_what_the_package_refuses(text):
    assert not VALIDATOR.is_valid(_table(text))
