"""A policy may extend another one and give only the keys that differ."""

import dataclasses
import json
from pathlib import Path

import pytest
from policy_files import OLD, WAIVER, write

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.describe import describe
from dmun_audit.config.options import Options
from dmun_audit.config.targets import resolve_all
from dmun_audit.evidence.manifest import AttemptRecord
from dmun_audit.policy import Waiver, alterations, baseline, load_policy, policy_from_table
from dmun_audit.runtime.manifest import opened_manifest

STRICTER = 'extends = "standard"\nalpha = 0.01\n[erasure]\nceiling = 0.03\n'


def test_a_policy_gives_only_what_differs_and_is_called_by_its_file(tmp_path):
    policy = load_policy(str(write(tmp_path, STRICTER, "ours.toml")))
    standard = load_policy("standard")
    erasure = dataclasses.replace(standard.erasure, ceiling=0.03)
    assert policy == dataclasses.replace(standard, name="ours", alpha=0.01, erasure=erasure, extends="standard")
    assert load_policy(str(write(tmp_path, 'name = "named"\n' + STRICTER))).name == "named"


def test_the_digest_is_the_digest_of_the_resolved_policy(tmp_path):
    extending = load_policy(str(write(tmp_path, STRICTER, "ours.toml")))
    text = (Path(__file__).parents[2] / "dmun_audit/policy/built_in/standard.toml").read_text()
    for old, new in (
        ('name = "standard"', 'name = "ours"'),
        ("alpha = 0.05", "alpha = 0.01"),
        ("ceiling = 0.05", "ceiling = 0.03"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    complete = load_policy(str(write(tmp_path, text, "complete.toml")))
    assert extending.as_dict() == complete.as_dict()
    assert digest(extending.as_dict()) == digest(complete.as_dict())


def test_a_chain_is_followed_from_the_folder_of_each_file(tmp_path):
    (tmp_path / "team").mkdir()
    write(tmp_path / "team", STRICTER, "team.toml")
    write(tmp_path, 'extends = "team/team.toml"\n[erasure]\nimages = 300\n', "group.toml")
    policy = load_policy(str(write(tmp_path / "team", 'extends = "../group.toml"\n[retention]\nmargin = 0.1\n', "ours.toml")))
    assert (policy.name, policy.alpha, policy.erasure.ceiling, policy.erasure.images) == ("ours", 0.01, 0.03, 300)
    assert policy.extends == "standard"
    assert alterations(policy) == [
        "alpha 0.05 → 0.01",
        "erasure.ceiling 0.05 → 0.03",
        "erasure.images 384 → 300",
        "retention.margin 0.15 → 0.1",
    ]


def test_a_chain_may_end_in_a_complete_file(tmp_path):
    write(tmp_path, OLD, "old.toml")
    policy = load_policy(str(write(tmp_path, 'extends = "old.toml"\nalpha = 0.01\n')))
    assert policy == dataclasses.replace(load_policy(str(tmp_path / "old.toml")), name="mine", alpha=0.01, extends=policy.extends)
    assert (baseline(policy), alterations(policy)) == (None, [])


def test_waivers_add_up(tmp_path):
    write(tmp_path, 'extends = "standard"\n' + WAIVER, "parent.toml")
    path = write(tmp_path, 'extends = "parent.toml"\n' + WAIVER.replace("Seurat", "Braque"))
    assert {waiver.case for waiver in load_policy(str(path)).waivers} == {"Georges Braque", "Georges Seurat"}
    path = write(tmp_path, 'extends = "parent.toml"\n')
    assert [waiver.case for waiver in load_policy(str(path)).waivers] == ["Georges Seurat"]
    path = write(tmp_path, 'extends = "parent.toml"\n' + WAIVER)
    with pytest.raises(UsageError, match="waivers 1 and 2 are of the same case, 'Georges Seurat'"):
        load_policy(str(path))
    path = write(tmp_path, 'extends = "parent.toml"\n' + WAIVER.replace('reason = "dots"\n', ""))
    with pytest.raises(UsageError, match=r"mine\.toml: key 'waivers 1\.reason' is missing"):
        load_policy(str(path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('extends = "standart"', r"extends = 'standart' is neither a built-in policy nor a file(.|\n)*did you mean 'standard'\?"),
        ('extends = ""', r"extends = '' is neither a built-in policy nor a file"),
        ('extends = "mine.toml"', r"extends = 'mine\.toml' closes a circle\n  why:  mine\.toml → mine\.toml"),
        ('extends = "standard"\n[erasure]\nceilin = 0.1', r"unknown key 'erasure\.ceilin'(.|\n)*did you mean 'ceiling'\?"),
        ('extends = "standard"\nerasure = 3', r"erasure = 3 is not a valid value(.|\n)*expected: a table"),
        ('extends = "standard"\nwaivers = 3', r"waivers = 3 is not a valid value(.|\n)*expected: an array of tables"),
        ('extends = "standard"\n[adversarial]\nvalid_at = 5', r"adversarial\.valid_at = 5 can never be met"),
        ('extends = "standard"\nimages_at_most = 10', r"controls\.sensitivity_images alone needs 48 images"),
        ("extends = 3", r"extends = 3 is not a valid value"),
    ],
)
def test_a_faulty_extending_policy_names_its_own_file(tmp_path, text, problem):
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=problem) as caught:
        load_policy(str(path))
    assert str(path) in str(caught.value)


def test_a_circle_of_files_is_one_error_that_shows_the_circle(tmp_path):
    for name, parent in (("a", "b"), ("b", "c"), ("c", "b")):
        write(tmp_path, f'extends = "{parent}.toml"', f"{name}.toml")
    with pytest.raises(UsageError, match=r"c\.toml: extends = 'b\.toml' closes a circle\n  why:  b\.toml → c\.toml → b\.toml"):
        load_policy(str(tmp_path / "a.toml"))


def test_a_fault_in_the_extended_file_names_that_file(tmp_path):
    parent = write(tmp_path, OLD.replace("alpha = 0.05", "alpha = 5"), "parent.toml")
    with pytest.raises(UsageError) as caught:
        load_policy(str(write(tmp_path, 'extends = "parent.toml"\nalpha = 0.05\n')))
    assert f"policy file {parent}: alpha = 5 is out of range" in str(caught.value)


def test_a_name_of_a_built_in_policy_is_compared_with_that_policy(tmp_path):
    policy = load_policy(str(write(tmp_path, 'extends = "smoke"\nname = "standard"\n')))
    assert baseline(policy) == "standard"
    assert "erasure.ceiling 0.05 → 0.2" in alterations(policy)
    unchanged = load_policy(str(write(tmp_path, 'extends = "standard"\n' + WAIVER)))
    assert (baseline(unchanged), alterations(unchanged)) == ("standard", [])


def test_header_and_manifest_say_in_what_it_differs(tmp_path):
    path = write(tmp_path, 'extends = "smoke"\n[erasure]\nceiling = 0.3\n', "ours.toml")
    setup = resolve_all(Options(policy=str(path)), [], [])[0]
    assert "  policy ours differs from the built-in policy smoke: erasure.ceiling 0.2 → 0.3" in describe(setup)
    stated = opened_manifest(setup, None, [AttemptRecord(started="2026-11-27T10:00:00Z")]).model_dump(mode="json")["policy"]
    assert (stated["name"], stated["baseline"], stated["altered"]) == ("ours", "smoke", ["erasure.ceiling 0.2 → 0.3"])
    assert "extends" not in stated["text"]


def test_every_process_of_a_session_has_the_same_policy(tmp_path):
    path = write(tmp_path, 'extends = "smoke"\n' + WAIVER, "ours.toml")
    setup = resolve_all(Options(policy=str(path)), [], [])[0]
    assert AuditConfig.from_json(setup.to_json()).policy == setup.policy
    assert setup.policy.waivers == (Waiver("Georges Seurat", "dots", "Ana", setup.policy.waivers[0].expires),)
    assert policy_from_table(json.loads(json.dumps(setup.policy.as_dict())), tmp_path) == dataclasses.replace(
        setup.policy, extends=None
    )


def test_tables_of_further_groups_are_merged_key_by_key_and_reported(tmp_path):
    write(tmp_path, 'extends = "smoke"\n[groups.counting]\nimages = 20\nceiling = 0.1\n', "parent.toml")
    policy = load_policy(str(write(tmp_path, 'extends = "parent.toml"\n[groups.counting]\nceiling = 0.2\n')))
    assert policy.groups == {"counting": {"images": 20, "ceiling": 0.2}}
    assert alterations(policy) == ["groups.counting.images None → 20", "groups.counting.ceiling None → 0.2"]
