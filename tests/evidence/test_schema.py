"""The published schemas and the frozen records say the same: what one takes the other takes, and nothing is changed in place."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.multiple_testing import with_holm
from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.published_schemas import json_schema
from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.schema import FORMAT, CaseRecord, ClaimRecord
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.plan.waivers import with_waivers
from dmun_audit.policy import Waiver, load_policy

FORMAT_1 = Path(__file__).parent / "format_1"
EVIDENCE = jsonschema.Draft202012Validator(json_schema("evidence"))
MANIFEST = jsonschema.Draft202012Validator(json_schema("manifest"))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "evidence.jsonl").read_text().splitlines()]


# The schemas.


@pytest.mark.parametrize("name", ["evidence", "manifest"])
def test_a_schema_is_itself_valid_and_names_its_format(name: Any) -> None:
    schema = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:dmun-audit:{name}:{FORMAT}"
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("name", ["evidence", "manifest"])
def test_every_field_of_the_record_is_described(name: Any) -> None:
    described = json_schema(name)["properties"]
    named_by_its_type = {"claim", "concept", "prompt", "images", "second", "waiver", "tables", "volatile", "target", "attempts"}
    named_by_its_type |= {"verdict", "waivers", "evidence", "reasons", "warnings", "audit_hash", "format", "hardware"}
    named_by_its_type |= {"trust_remote_code", "started", "finished", "seconds"}
    assert {key for key, value in described.items() if "description" not in value} <= named_by_its_type


def test_what_an_audit_writes_is_valid(example: Path) -> None:
    for line in _lines(example):
        EVIDENCE.validate(line)
    MANIFEST.validate(json.loads((example / "manifest.json").read_text()))


def test_records_of_version_0_1_0_are_valid_once_they_are_read() -> None:
    run = read_run(FORMAT_1)
    for case in run.cases:
        EVIDENCE.validate(json.loads(json.dumps(case.to_json())))
    MANIFEST.validate(json.loads(json.dumps(run.manifest.to_json())))


LINE = {"case_id": "a", "verdict": "PASS"}
CLAIM = {"kind": "rate_at_most"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "PASS"},
        {"case_id": "a"},
        {"case_id": 7, "verdict": "PASS"},
        LINE | {"verdict": "pass"},
        LINE | {"verdict": "INCOMPLETE"},
        LINE | {"pooled": "yes"},
        LINE | {"claim": CLAIM | {"hits": "3"}},
        LINE | {"claim": CLAIM | {"hits": 0.5}},
        LINE | {"claim": CLAIM | {"burden": "prove safety"}},
        LINE | {"claim": {"hits": 3}},
        LINE | {"images": [{"model": "neither", "prompt": "a cat"}]},
        LINE | {"images": {"model": "base", "prompt": "a cat"}},
        LINE | {"measures": {"kid": "much"}},
        LINE | {"measures": {"kid": None}},
        LINE | {"measures": {"kid": True}},
        LINE | {"waiver": {"reason": "r"}},
        [],
    ],
)
def test_a_wrong_line_is_refused_by_the_schema_and_by_the_reader(wrong: Any, folder: Any) -> None:
    assert not EVIDENCE.is_valid(wrong)
    folder.add_line(wrong)
    folder.add_line(LINE | {"case_id": "last"})
    run = read_run(folder.close())
    old_spelling = isinstance(wrong, dict) and wrong.get("claim", {}).get("burden") == "prove safety"
    assert run.unreadable == (() if old_spelling else (1,))
    assert [case.case_id for case in run.cases] == (["a", "last"] if old_spelling else ["last"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "GREAT"},
        {"exit_code": "0"},
        {"reasons": "because"},
        {"waivers": [{"case": "a"}]},
        {"attempts": [{}]},
        {"evidence": {"cases": 3}},
        {"policy": "standard"},
        [],
    ],
)
def test_a_wrong_manifest_is_refused(wrong: Any) -> None:
    assert not MANIFEST.is_valid(wrong)
    with pytest.raises(ValidationError):
        Manifest.model_validate_json(json.dumps(wrong), strict=True)


# The records.


def test_records_are_frozen(example: Path) -> None:
    run = read_run(example)
    case = next(case for case in run.cases if case.claim and case.images)
    for record, field in ((case, "verdict"), (case.claim, "hits"), (case.images[0], "key"), (run.manifest, "verdict")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(record, field, None)
    with pytest.raises(AttributeError):
        run.cases = ()  # type: ignore[misc]


def test_a_copy_with_other_values_leaves_the_record_as_it_was() -> None:
    record = CaseRecord.model_validate(LINE | {"claim": CLAIM | {"hits": 1}})
    assert record.with_claim(hits=2).claim == ClaimRecord(kind="rate_at_most", hits=2)
    assert record.with_(seen="x").seen == "x"
    assert record == CaseRecord.model_validate(LINE | {"claim": CLAIM | {"hits": 1}})


def test_a_field_is_also_an_item_and_another_name_is_a_key_error() -> None:
    record = CaseRecord.model_validate(LINE)
    assert record["measures"] is record.measures
    for name in ("to_json", "is_failure", "nothing"):
        with pytest.raises(KeyError):
            record[name]


def test_what_is_not_set_is_left_out_and_comes_back_equal(example: Path) -> None:
    for case in read_run(example).cases:
        text = json.dumps(case.to_json())
        assert "null" not in text
        assert CaseRecord.model_validate_json(text, strict=True) == case


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_are_finite(folder: Any, number: str) -> None:
    for part in ('"measures": {"kid": %s}', '"claim": {"kind": "rate_at_most", "upper": %s}', '"volatile": {"seconds": %s}'):
        line = json.loads('{"case_id": "a", "verdict": "PASS", ' + part % number + "}")
        with pytest.raises(ValidationError):
            CaseRecord.model_validate(line)
        folder.add_line(line)
        folder.add_line(LINE | {"case_id": "b"})
    assert [case.case_id for case in read_run(folder.close()).cases] == ["b"]


def test_adjusted_p_values_and_waivers_come_as_new_records(example: Path) -> None:
    cases = read_run(example).cases
    before = [case.to_json() for case in cases]
    adjusted = with_holm(case.with_claim(p_refuted=0.001) if case.claim else case for case in cases)
    assert with_holm(cases) is not cases
    assert [case.to_json() for case in cases] == before
    assert any(case.claim and case.claim.holm is not None for case in adjusted)
    failing = next(case for case in cases if case.verdict.is_failure)
    plan = make_plan(find_pack("Van Gogh", "atelier"), load_policy("standard"), 0)
    waived_case = replace(plan.cases[-1], id=failing.case_id)
    waiver = Waiver(failing.case_id, "r", "o", date(2030, 1, 1), None)
    plan = replace(plan, cases=(*plan.cases, waived_case), policy=replace(plan.policy, waivers=(waiver,)))
    waived = with_waivers(plan, cases, date(2026, 1, 1))
    assert [case.to_json() for case in cases] == before
    assert [case.case_id for case in waived if case.waiver] == [failing.case_id]
    assert [case.case_id for case in waived] == [case.case_id for case in cases]
