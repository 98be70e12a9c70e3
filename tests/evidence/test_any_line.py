"""Whatever an evidence file holds, it is read: every line is a record, or is named as unreadable."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmun_audit.evidence.published_schemas import json_schema
from dmun_audit.evidence.run import Run, read_run
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord, ConceptRecord, ImageRecord, PromptRecord
from dmun_audit.report.html import render_html
from dmun_audit.report.text import summary_lines
from dmun_audit.verdict.vocabulary import Burden

UNHURRIED = settings(database=None, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
SCHEMA = jsonschema.Draft202012Validator(json_schema("evidence"))

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def _part(of: type[Any], **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some fields of a record, of any value."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(of.model_fields, values) | parts)


claims = _part(
    ClaimRecord, kind=st.just("rate_at_most") | values, burden=st.sampled_from(["prove safe", "prove safety"]) | values
)
images = st.lists(_part(ImageRecord, model=st.sampled_from(["base", "candidate"]) | values), max_size=2)
lines = _part(
    CaseRecord,
    case_id=st.text(max_size=3),
    verdict=st.sampled_from(["PASS", "FAIL", "VACUOUS"]) | values,
    claim=claims | values,
    images=images | values,
)


decimals = st.floats(-1e6, 1e6).map(lambda number: round(number, 6))
numbers = st.none() | decimals
counts = st.none() | st.integers(-5, 10**9)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
whole_claims = st.builds(
    ClaimRecord,
    kind=st.sampled_from(["rate_at_most", "rate_at_least", "paired_accuracy", "paired_score", "validity", "ordering"]) | texts,
    **dict.fromkeys(("hits", "trials", "gains", "needed", "planned"), counts),
    **dict.fromkeys(("threshold", "estimate", "lower", "upper", "p_refuted", "holm"), numbers),
    burden=st.none() | st.sampled_from(Burden),
)
whole_images = st.builds(ImageRecord, prompt=texts, key=texts, index=st.integers(0, 3), label=st.none() | texts)
whole_records = st.builds(
    CaseRecord,
    **dict.fromkeys(("case_id", "title", "seen", "remedy"), texts),
    group=st.sampled_from(["controls", "erasure", "adversarial", "retention", "ordering"]) | texts,
    pooled=st.booleans(),
    claim=st.none() | whole_claims,
    concept=st.none() | st.builds(ConceptRecord, name=texts, role=texts, similarity=numbers),
    prompt=st.none() | st.builds(PromptRecord, text=texts, language=texts),
    images=st.lists(whole_images, max_size=3).map(tuple),
    measures=st.dictionaries(st.sampled_from(["kid_unpaired", "kid_noise_floor", "lpips"]) | texts, decimals),
)


def _read(contents: list[Any], shown: bool = False) -> Run:
    with TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "manifest.json").write_text('{"format": 2}')
        (path / "evidence.jsonl").write_text("".join(json.dumps(content) + "\n" for content in contents))
        run = read_run(path)
        if shown:
            render_html(run)
            summary_lines(run)
        return run


@pytest.mark.slow
@given(values)
@settings(UNHURRIED, max_examples=200)
def test_any_json_value_is_read(value: Any) -> None:
    run = _read([value, {"case_id": "last", "verdict": "PASS"}])
    assert run.cases[-1].case_id == "last"
    superseded = isinstance(value, dict) and value.get("case_id") == "last"
    assert len(run.cases) - 1 + len(run.unreadable) == (0 if superseded else 1)


@pytest.mark.slow
@given(st.lists(lines, max_size=4))
@settings(UNHURRIED, max_examples=80)
def test_a_line_is_a_record_that_follows_the_schema_or_its_number_is_given(contents: list[dict[str, Any]]) -> None:
    run = _read([*contents, {"case_id": "the very last", "verdict": "PASS"}])
    named = [content.get("case_id") for content in contents]
    no_evidence = [place for place, case_id in enumerate(named, start=1) if not isinstance(case_id, str)]
    latest = {case_id: place for place, case_id in enumerate(named, start=1) if isinstance(case_id, str)}
    read = {case.case_id for case in run.cases[:-1]}
    assert set(run.unreadable) == {*no_evidence, *(place for case_id, place in latest.items() if case_id not in read)}
    for case in run.cases:
        SCHEMA.validate(json.loads(json.dumps(case.to_json())))
        assert CaseRecord.model_validate_json(json.dumps(case.to_json()), strict=True) == case


@pytest.mark.slow
@given(st.lists(whole_records, min_size=1, max_size=3))
@settings(UNHURRIED, max_examples=30)
def test_reports_show_whatever_is_a_record(records: list[CaseRecord]) -> None:
    last = {record.case_id: record for record in records}
    assert _read([record.to_json() for record in records], shown=True).cases == tuple(last.values())
