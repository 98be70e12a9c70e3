"""A run that never finished, in what CI servers and readers are shown: no verdict, but the model and what is known."""

import json

import pytest
from case_records import records_of

from dmun_audit.cli import main
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.report.exports.summary import github_annotations
from dmun_audit.report.html import render_html
from dmun_audit.runtime.target_audit import TargetAudit
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

NO_REASON = "Nothing in the folder says why the run ended. It may still run. If not, an error, a time limit or a kill ended it."


@pytest.fixture
def audit(tmp_path):
    """Keeps some cases of an audit and ends without a conclusion, as a killed process does. Returns the run folder."""
    options = Options(model="atelier:noop", policy="smoke", store=str(tmp_path / "store"), audit_dir=str(tmp_path / "run"))
    config = resolve(options)
    records = [each for each in records_of(config.plan).values() if not each.pooled]

    def keep(number, *, fails=False):
        session = TargetAudit(config)
        session.begin()
        for place, record in enumerate(records[:number]):
            said = {"verdict": Verdict.FAIL, "title": "A | claim\n## of ours", "seen": "The target <shows>."}
            session.keep(record.with_(**said) if fails and place == number - 1 else record)
        session.end()
        return tmp_path / "run"

    keep.cases = len(config.plan.cases)
    return keep


def test_the_summary_names_the_model_and_what_is_known_instead_of_a_verdict(audit, capsys):
    audit(2)
    folder = audit(4, fails=True)
    assert main(["summary", str(folder)]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "## ⏳ not finished: Van Gogh in atelier:noop"
    assert lines[2] == "- The run did not finish, so it has no verdict."
    assert lines[3].startswith("- It began 2 times, the last time on 20")
    assert lines[4] == f"- It decided 4 of {audit.cases} cases."
    assert lines[5].startswith("- The last case so far that did not pass is FAIL: A ")
    assert "\n## of ours" not in text
    assert "<shows>" not in text
    assert f"- {NO_REASON}" in lines
    assert "| group | cases so far |" in lines
    assert not any(verdict in text for verdict in (AuditVerdict.INCOMPLETE, "claim over the whole group", "release", "✅", "❌"))


def test_a_run_that_decided_nothing_has_no_table(audit, capsys):
    assert main(["summary", str(audit(0))]) == 0
    text = capsys.readouterr().out
    assert f"- It decided 0 of {audit.cases} cases.\n" in text
    assert "It began on 20" in text
    assert "|" not in text
    assert "Tried" not in text


def test_the_annotation_says_that_the_run_did_not_finish(audit):
    (line,) = github_annotations(checked_run(audit(0)))
    assert line.startswith("::error title=not finished%3A Van Gogh::The run did not finish, so it has no verdict. It began on ")


def test_the_page_and_the_list_name_the_model_and_no_reason_that_is_wrong(audit):
    page = render_html(checked_run(audit(0)))
    assert "This run did not finish, so it has no verdict yet." in page
    assert "a control failed, a case is missing" not in page
    assert "atelier:noop, against atelier:base" in page
    assert "nothing but the controls" not in page


def test_a_folder_of_an_earlier_version_has_no_command_and_says_so(audit, capsys):
    folder = audit(0)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"command": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["summary", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("## ⏳ not finished: Van Gogh in a model that run does not name\n")
