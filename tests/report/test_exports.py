"""A run for other tools: each file is read by a parser that is not ours."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pandas
import pytest
from example_runs import WrittenRun, claim, fill, record
from huggingface_hub import ModelCard
from pyarrow import parquet

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run import read_run
from dmun_audit.report.exports.ctrf import ctrf
from dmun_audit.report.exports.model_card import card_section, write_card
from dmun_audit.report.exports.summary import MOST_ANNOTATIONS, github_annotations, summary_markdown
from dmun_audit.report.exports.tables import case_rows, csv_bytes, image_rows, write_parquet
from dmun_audit.report.exports.whole import WholeAudit, whole_audit, whole_audit_schema
from dmun_audit.report.formatting import report_verdict

CTRF_SCHEMA = Path(__file__).parent / "ctrf-schema-0.0.json"
"""The schema of the npm package ctrf 0.3.0 (MIT)."""


@pytest.fixture(scope="module")
def run(example: Path):
    return read_run(example)


def passing(folder: WrittenRun, **manifest):
    folder.manifest |= {"verdict": "PASS", "exit_code": 0, "reasons": []} | manifest
    folder.add(record("erasure", "gone", "PASS", pooled=True, claim=claim("rate_at_most", 0, 80, 0, 0.04, 0.05)))
    return folder


# CTRF.


def test_ctrf_follows_its_published_schema(run):
    jsonschema.Draft7Validator(json.loads(CTRF_SCHEMA.read_text())).validate(ctrf(run))


def test_ctrf_counts_what_it_lists_and_a_failure_is_a_failed_test(run):
    results = ctrf(run)["results"]
    status = {test["name"]: test["status"] for test in results["tests"]}
    for case in run.cases:
        wanted = "failed" if case.verdict.is_failure else "skipped" if case.verdict == "VACUOUS" else None
        assert status[case.case_id] == wanted or (wanted is None and status[case.case_id] in ("passed", "other"))
    for name in ("passed", "failed", "skipped", "other"):
        assert results["summary"][name] == list(status.values()).count(name)
    assert results["summary"]["failed"] > 0
    assert results["summary"]["stop"] - results["summary"]["start"] == 200_000


def test_in_ctrf_a_case_that_decides_nothing_does_not_look_passed(run):
    status = {test["name"]: test["status"] for test in ctrf(run)["results"]["tests"]}
    reported = [case for case in run.cases if report_verdict(case) == "REPORTED"]
    assert reported
    assert {status[case.case_id] for case in reported} == {"other"}


def test_an_incomplete_audit_without_a_failed_case_fails_in_ctrf(folder: WrittenRun):
    passing(folder, verdict="INCOMPLETE", exit_code=10, reasons=["A case is missing."])
    results = ctrf(read_run(folder.close()))["results"]
    assert [test["status"] for test in results["tests"]] == ["passed", "failed"]
    assert "A case is missing." in results["tests"][1]["message"]


def test_a_waived_failure_is_skipped_in_ctrf_with_its_waiver(folder: WrittenRun):
    passing(folder).add(
        record(
            "erasure",
            "left",
            "FAIL",
            claim=claim("rate_at_most", 9, 9, 0.5, 1, 0.05),
            waiver={"reason": "known", "owner": "me", "expires": "2027-01-01"},
        )
    )
    (test,) = [each for each in ctrf(read_run(folder.close()))["results"]["tests"] if each["name"].startswith("left")]
    assert test["status"] == "skipped"
    assert "known" in test["message"]


# One file.


def test_the_whole_audit_follows_its_published_schema_and_reads_back(run):
    text = whole_audit(run).model_dump_json()
    jsonschema.Draft202012Validator(whole_audit_schema()).validate(json.loads(text))
    again = WholeAudit.model_validate_json(text)
    assert again.cases == run.cases
    assert again.verdict == run.verdict
    assert again.scope


def test_an_altered_run_is_incomplete_in_the_whole_audit(run):
    assert whole_audit(replace(run, contradictions=("A file changed.",))).verdict == "INCOMPLETE"


# Tables.


def test_a_data_frame_reads_cases_and_images(run):
    cases = pandas.read_csv(io.BytesIO(csv_bytes(case_rows(run))))
    images = pandas.read_csv(io.BytesIO(csv_bytes(image_rows(run))), dtype={"seed": str})
    assert list(cases["case_id"]) == [case.case_id for case in run.cases]
    assert len(images) == sum(len(case.all_images) for case in run.cases)
    gauguin = cases[cases["concept"] == "Paul Gauguin"].iloc[0]
    assert (gauguin["hits"], gauguin["trials"], gauguin["relation"]) == (5, 16, "sibling")
    assert gauguin["measure_kid_paired"] == pytest.approx(0.019)
    image = next(image for case in run.cases for image in case.images)
    assert images["seed"].iloc[0] == str(image.seed)


def test_a_text_that_a_spreadsheet_would_run_stays_text(folder: WrittenRun):
    folder.add(record("erasure", "=HYPERLINK(1)", "PASS", prompt={"text": "@SUM(1)\nnext", "strategy": "direct"}))
    row = pandas.read_csv(io.BytesIO(csv_bytes(case_rows(read_run(folder.close()))))).iloc[0]
    assert row["title"] == "'=HYPERLINK(1)"
    assert row["prompt"].startswith("'@SUM(1) ")


def test_parquet_keeps_types(run, tmp_path):
    write_parquet(case_rows(run), tmp_path / "cases.parquet")
    table = parquet.read_table(tmp_path / "cases.parquet")
    assert table.num_rows == len(run.cases)
    assert str(table.schema.field("pooled").type) == "bool"
    assert str(table.schema.field("similarity").type) == "double"


# CI.


def test_the_summary_says_verdict_reasons_claims_and_scope_and_lets_nothing_through(run, hostile):
    text = summary_markdown(run)
    assert text.startswith("## ❌ FAIL")
    for reason in run.reasons:
        assert reason.split(":")[0] in text
    assert "| erasure |" in text
    assert "What failed, and what came closest" in text
    assert "The audit covers these prompts" in text
    assert "<script>" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_annotations_are_few_and_none_can_give_another_command(folder: WrittenRun):
    fill(folder)
    for number in range(30):
        folder.add(record("erasure", f"a%0A::set-output, {number}\n::error::x", "FAIL", seen="bad\n::warning::y"))
    lines = github_annotations(read_run(folder.close()))
    assert len(lines) == MOST_ANNOTATIONS
    for line in lines:
        assert line.startswith("::error title=")
        assert "\n" not in line
        title = line.removeprefix("::error title=").partition("::")[0]
        assert not re.search(r"[:,]", title)
        assert not re.search(r"%(?!25|3A|2C)", line)
    assert "more case" in lines[-1]
    assert lines[-1].endswith("report.html.")


def test_the_annotation_of_the_verdict_has_one_reason(folder: WrittenRun):
    folder.manifest |= {"verdict": "FAIL", "exit_code": 1, "reasons": ["The first.", "The second.", "The third."]}
    assert github_annotations(read_run(folder.close()))[0].endswith("::The first. And 2 more reasons.")


def test_a_pass_has_no_annotation(folder: WrittenRun):
    assert github_annotations(read_run(passing(folder).close())) == []


# Model cards.


def card_of(path: Path) -> ModelCard:
    return ModelCard.load(path)


def test_a_new_card_has_the_section_and_metrics_that_the_hub_s_library_reads(run, tmp_path, capsys):
    path = tmp_path / "README.md"
    write_card(replace(run, contradictions=()), path, "my-model")
    card = card_of(path)
    assert card.data.model_name == "my-model"
    metrics = {each.metric_type: each for each in card.data.eval_results}
    assert metrics["audit_verdict"].metric_value == "FAIL"
    assert metrics["target_rate"].metric_value == pytest.approx(2 / 192, abs=1e-6)
    assert metrics["target_rate"].metric_args["verdict"] == "PASS"
    assert metrics["adversarial_target_rate"].metric_args["verdict"] == "INCONCLUSIVE"
    assert "## Unlearning audit: Van Gogh" in card.text
    assert "**FAIL" in card.text
    assert path.read_text().count("---\n") == 2  # the header's two lines, and no more
    assert "not found" not in capsys.readouterr().err


CARD = """---
# who made it
license: mit
language: no
version: 1.10
tags:
- art
model-index:
- name: kept
  results:
  - task:
      type: text-to-image
    dataset:
      type: coco
      name: COCO
    metrics:
    - type: fid
      value: 12.5
      unknown: stays
# the end
pipeline_tag: text-to-image
---
# My model

Its story.
"""


def test_every_other_line_of_a_card_stays_and_a_later_run_replaces_its_own(run, folder: WrittenRun, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(CARD)
    write_card(run, path, "other-name")
    write_card(read_run(passing(folder).close()), path, "other-name")
    text = path.read_text()
    for line in CARD.splitlines():
        assert line in text
    card = card_of(path)
    assert (card.data.license, card.data.model_name) == ("mit", "kept")
    assert card.text.count("begin -->") == 1
    assert "**PASS" in card.text
    assert "**FAIL" not in card.text
    assert ("COCO", "fid") in {(each.dataset_name, each.metric_type) for each in card.data.eval_results}
    assert [each.metric_value for each in card.data.eval_results if each.metric_type == "target_rate"] == [0.0]
    assert [each.metric_value for each in card.data.eval_results if each.metric_type == "audit_verdict"] == ["PASS"]


def test_other_targets_and_policies_keep_their_sections_and_metrics(tmp_path):
    path = tmp_path / "README.md"
    for place, (target, policy) in enumerate(
        [("Van Gogh", "smoke"), ("向日葵", "smoke"), ("梵高", "smoke"), ("Van Gogh", "release"), ("Van Gogh", "smoke")]
    ):
        folder = WrittenRun(tmp_path / f"run-{place}")
        folder.manifest["policy"]["name"] = policy
        write_card(read_run(passing(folder, target={"name": target, "kind": "style"}).close()), path, "m")
    card = card_of(path)
    assert card.text.count("begin -->") == 3
    verdicts = [each.dataset_config for each in card.data.eval_results if each.metric_type == "audit_verdict"]
    assert sorted(verdicts) == sorted(["Van Gogh, smoke", "向日葵, smoke", "梵高, smoke", "Van Gogh, release"])


def test_models_beside_this_one_keep_their_metrics(run, tmp_path):
    path = tmp_path / "README.md"
    path.write_text("---\nmodel-index:\n- name: A\n  results: []\n- name: B\n  results:\n  - {odd: 1}\n---\ntext\n")
    write_card(run, path, "B")
    import yaml

    index = yaml.safe_load(path.read_text().split("---\n")[1])["model-index"]
    assert [(entry["name"], len(entry["results"]) > 1) for entry in index] == [("A", False), ("B", True)]
    assert {"odd": 1} in index[1]["results"]


def test_an_audit_of_other_weights_is_replaced_only_if_the_user_says_so(folder: WrittenRun, tmp_path, capsys):
    path = tmp_path / "README.md"
    first = read_run(passing(folder).close())
    write_card(first, path, "first")
    before = path.read_text()
    models = first.manifest.models | {"candidate": first.manifest.models.get("candidate", {}) | {"weights_digest": "f" * 64}}
    other = replace(first, manifest=first.manifest.model_copy(update={"models": models}))
    with pytest.raises(UsageError, match="has an audit of other weights"):
        write_card(other, path, "other")
    assert path.read_text() == before
    write_card(other, path, "other", replace=True)
    assert "weights `ffffffffffffffff`" in path.read_text()
    assert path.read_text().count("begin -->") == 1


def test_with_the_section_of_other_weights_all_their_metrics_go(folder: WrittenRun, tmp_path):
    path = tmp_path / "README.md"
    first = read_run(passing(folder).close())
    write_card(first, path, "first")
    models = first.manifest.models | {"candidate": first.manifest.models.get("candidate", {}) | {"weights_digest": "f" * 64}}
    policy = first.manifest.policy | {"name": "another policy"}
    other = replace(first, manifest=first.manifest.model_copy(update={"models": models, "policy": policy}))
    write_card(other, path, "other", replace=True)
    configurations = {result.dataset_config for result in card_of(path).data.eval_results}
    assert configurations == {f"{first.manifest.target.name}, another policy"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: replace(run, cases=()), "it has no case"),
        (
            lambda run: replace(run, manifest=run.manifest.model_copy(update={"interruptions": {"stopped": "interrupted"}})),
            "it was stopped early: interrupted",
        ),
    ],
    ids=["empty", "stopped"],
)
def test_a_run_in_which_little_or_nothing_ran_gives_no_card(folder: WrittenRun, tmp_path, change, words):
    with pytest.raises(UsageError, match="gives no model card") as error:
        write_card(change(read_run(passing(folder).close())), tmp_path / "README.md", "m")
    assert error.value.why == words


def test_a_card_is_refused_for_a_run_that_does_not_hold_and_a_broken_card_is_left_alone(run, tmp_path):
    path = tmp_path / "README.md"
    unfinished = replace(run, manifest=run.manifest.model_copy(update={"exit_code": None}))
    for broken in (replace(run, contradictions=("A file changed.",)), unfinished):
        with pytest.raises(UsageError, match="gives no model card"):
            write_card(broken, path, "m")
        with pytest.raises(UsageError, match="gives no model card"):
            card_section(broken)
        assert not path.exists()
    for text in (
        "---\nlicense: [\n---\ntext\n",
        "---\nmodel-index: 3\n---\n",
        "---\nmodel-index:\n- name: A\n# inside\n  results: []\n---\n",
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"is no model card|cannot be changed"):
            write_card(run, path, "m")
        assert path.read_text() == text


def test_untrusted_texts_stay_text_in_a_section(folder: WrittenRun, hostile):
    passing(folder, target={"name": hostile, "kind": "style"})
    section = card_section(read_run(folder.close()))
    assert "<script>" not in section
    assert section.count("begin -->") == 1
