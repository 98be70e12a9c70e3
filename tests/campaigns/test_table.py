"""The table of a campaign: in 80 columns, as Markdown, and in its folder."""

import json
import re

import jsonschema
import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit._util.terminal import display_width
from dmun_audit.campaigns.folder import prepare, write_campaign
from dmun_audit.campaigns.records import AuditOfCampaign, AuditRow, Figures, campaign_record, campaign_schema, overall_verdict
from dmun_audit.campaigns.table import markdown, table_lines
from dmun_audit.verdict.vocabulary import AuditVerdict

LONG = "a-model-of-a-very-long-name-in-many-words"


def row(model="esd", target="Van Gogh", verdict="PASS", **fields):
    return AuditRow(
        model=model, reference=f"{model}.safetensors", target=target, **{"verdict": verdict, "headline": verdict} | fields
    )


@pytest.fixture
def record(tmp_path):
    lost = AuditOfCampaign("gone", "gone.pt", "Van Gogh", error="there is no model at gone.pt\n  do:   look")
    empty = campaign_record("id-1", "base", "smoke", [lost, AuditOfCampaign("esd", "esd", "monet")])
    claims = {"erasure": Figures(estimate=0.02, upper=0.0801), "retention": Figures(estimate=1.0, upper=1.0)}
    reasons = ("The claim is refuted: " + "many words " * 100, *(f"reason {place}" for place in range(6)))
    folder = str(tmp_path / "runs" / "esd-1")
    rows = (
        row(claims=claims, rendered=1_234, reused=5, seconds=61.4, folder=folder, evidence_digest="ab"),
        row(LONG, "向日葵 | `x`", "FAIL", reasons=reasons, headline="FAIL"),
        *empty.audits,
    )
    return empty.model_copy(update={"audits": rows})


def test_the_table_fits_80_columns_and_tells_verdict_numbers_images_and_folder(record, tmp_path):
    lines = table_lines(record)
    folders = [line for line in lines if str(tmp_path) in line]
    assert [line for line in lines if display_width(line) > 80 and line not in folders] == []
    assert folders == [f"    1,234 images drawn, 5 reused, 61 s: {tmp_path / 'runs' / 'esd-1'}"]
    assert re.fullmatch(r"esd +Van Gogh +PASS +2% ≤ 9% +– +100%", lines[2]), lines[2]
    assert lines[0] == "3 models × 3 targets: INCOMPLETE"


def test_reasons_follow_of_those_that_did_not_pass_and_a_lost_model_is_told_once(record):
    record = record.model_copy(update={"audits": (*record.audits, record.audits[2].model_copy(update={"target": "monet"}))})
    text = "\n".join(table_lines(record))
    told = re.findall(r"^(\S.*(?:: FAIL|: PARTIAL|: PASS|not audited:))$", text, re.MULTILINE)
    assert told == [f"{LONG}, 向日葵 | `x`: FAIL", "gone, not audited:", "esd, monet: PARTIAL"]
    assert text.count("there is no model at gone.pt do: look") == 1
    assert "and 3 more reasons: see the report" in text
    assert text.count("many words") < 25


def test_the_page_holds_one_row_for_each_audit_and_all_of_a_reason(record):
    page = markdown(record)
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == len(record.audits) + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {11}
    assert page.count("many words") == 100


def test_what_all_audits_say_is_said_once_and_the_rest_with_its_audit(record):
    """The table said PASS of a quick look, and kept what a model's own report warned of."""
    weak = "No release evidence: this audit is weaker."
    warned = row("noop", standing=(weak,), warnings=("noop does not differ from its base",))
    record = record.model_copy(update={"audits": (warned, row(standing=(weak,)), *record.audits[2:])})
    for text in (markdown(record), "\n".join(table_lines(record))):
        assert text.count("No release evidence") == 1
        assert text.count("warning: noop, Van Gogh: noop does not differ from its base") == 1
    alone = record.model_copy(update={"audits": (warned, row(), *record.audits[2:])})
    assert f"noop, Van Gogh: {weak}" in markdown(alone)


@pytest.mark.parametrize("last", AuditVerdict)
def test_over_several_the_first_verdict_of_the_order_counts(last):
    order = list(AuditVerdict)
    assert overall_verdict([AuditVerdict.PASS, last, AuditVerdict.PASS]) == last
    assert all(overall_verdict([last, other]) == other for other in order[: order.index(last)])


def test_the_folder_holds_the_table_by_its_schema_with_relative_folders(record, tmp_path):
    folder = tmp_path / "table"
    prepare(folder, record.id)
    assert write_campaign(folder, record) == folder
    written = json.loads((folder / "campaign.json").read_text())
    jsonschema.Draft202012Validator(campaign_schema()).validate(written)
    assert written["audits"][0]["folder"] == "../runs/esd-1"
    assert "[report](../runs/esd-1/report.html)" in (folder / "campaign.md").read_text()
    prepare(folder, record.id)
    with pytest.raises(UsageError, match="holds another campaign"):
        prepare(folder, "id-2")


def test_a_part_leaves_the_table_of_the_whole_alone(record, tmp_path):
    whole = record.model_copy(update={"audits": record.audits[:2]})
    write_campaign(tmp_path / "table", whole)
    before = (tmp_path / "table" / "campaign.json").read_bytes()
    assert write_campaign(tmp_path / "table", record) == tmp_path / "table-partial"
    assert (tmp_path / "table" / "campaign.json").read_bytes() == before
    assert write_campaign(tmp_path / "table", whole) == tmp_path / "table"


def test_a_campaign_that_was_cut_off_before_its_table_goes_on_among_its_run_folders(tmp_path):
    prepare(tmp_path / "table", "id-1")
    (tmp_path / "table" / "esd").mkdir()
    prepare(tmp_path / "table", "id-1")
    with pytest.raises(UsageError, match="holds another campaign"):
        prepare(tmp_path / "table", "id-2")


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        prepare(tmp_path, "id-1")
    with pytest.raises(UsageError, match="is a file"):
        prepare(tmp_path / "mine.txt", "id-1")
