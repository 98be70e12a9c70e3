"""A run folder is read as it stands: superseded, torn and missing parts included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.reading import evidence_digest
from dmun_audit.evidence.run import read_run
from dmun_audit.report.text import groups_of
from dmun_audit.verdict.vocabulary import Verdict


def test_a_run_holds_its_cases_in_the_order_of_the_file(example: Path) -> None:
    run = read_run(example)
    assert run.path == example
    assert run.verdict == "FAIL"
    assert groups_of(run) == ["controls", "erasure", "adversarial", "retention", "ordering"]
    lines = (example / "evidence.jsonl").read_text().splitlines()
    assert [case.case_id for case in run.cases] == [json.loads(line)["case_id"] for line in lines]
    assert {case.verdict for case in run.cases} == {"PASS", "FAIL", "INCONCLUSIVE", "VACUOUS"}


def test_pooled_cases_come_last_in_their_group(folder: Any, a_record: Any) -> None:
    folder.add(a_record("erasure", "together", "PASS", pooled=True))
    folder.add(a_record("erasure", "alone", "PASS"))
    assert [case.title for case in read_run(folder.close()).of_group("erasure")] == ["alone", "together"]


def test_a_later_line_supersedes_an_earlier_one_and_keeps_its_place(folder: Any, a_record: Any) -> None:
    first = folder.add(a_record("erasure", "first", "INCONCLUSIVE"))
    folder.add(a_record("erasure", "second", "PASS"))
    folder.add(first.with_(verdict=Verdict.PASS))
    cases = read_run(folder.close()).cases
    assert [(case.title, case.verdict) for case in cases] == [("first", "PASS"), ("second", "PASS")]


def test_a_torn_last_line_is_left_out_in_silence(folder: Any, a_record: Any) -> None:
    folder.add(a_record("erasure", "whole", "PASS"))
    with (folder.path / "evidence.jsonl").open("ab") as stream:
        stream.write(b'{"case_id": "torn", "group": "eras')
    run = read_run(folder.close())
    assert [case.title for case in run.cases] == ["whole"]
    assert run.unreadable == ()


def test_a_torn_line_before_others_is_left_out_and_said(folder: Any, a_record: Any) -> None:
    (folder.path / "evidence.jsonl").write_bytes(b'{"case_id": "torn"\n')
    folder.add(a_record("erasure", "whole", "PASS"))
    run = read_run(folder.close())
    assert [case.title for case in run.cases] == ["whole"]
    assert run.unreadable == (1,)
    assert any("unreadable line 1." in warning for warning in run.warnings)


def test_a_line_without_a_case_is_no_evidence(folder: Any, a_record: Any) -> None:
    (folder.path / "evidence.jsonl").write_bytes(b"[1, 2]\n" + b"[" * 100_000 + b"\n\xff\xfe\n")
    folder.add(a_record("erasure", "whole", "PASS"))
    run = read_run(folder.close())
    assert len(run.cases) == 1
    assert run.unreadable == (1, 2, 3)


def test_a_run_that_stopped_before_its_first_case_is_incomplete(folder: Any) -> None:
    folder.manifest = {"format": 1}
    run = read_run(folder.close())
    assert (run.verdict, run.cases, groups_of(run)) == ("INCOMPLETE", (), [])


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no run folder"), ("{", "cannot be read"), ("[]", "no manifest"), ('{"format": 4}', "format 4")],
)
def test_another_folder_is_a_usage_error(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UsageError) as raised:
        read_run(tmp_path)
    assert said in raised.value.what
    assert raised.value.remedy


def test_a_path_that_is_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        read_run(tmp_path / "nowhere")


def test_an_image_is_found_by_its_key_alone(example: Path) -> None:
    run = read_run(example)
    key = next(case for case in run.cases if case.images).images[0].key
    assert run.image(key) == example / "images" / f"{key}.png"
    assert run.image("0" * 64) is None
    for strange in ("../manifest", "", "7", "\0", f"{key}\n", f"{key}/../{key}"):
        assert run.image(strange) is None


def test_evidence_that_changed_after_the_verdict_takes_the_verdict_away(folder: Any, a_record: Any) -> None:
    record = folder.add(a_record("erasure", "whole", "PASS"))
    folder.manifest |= {"verdict": "PASS", "exit_code": 0, "evidence": evidence_digest([record.to_json()]).to_json()}
    path = folder.close()
    assert read_run(path).verdict == "PASS"
    folder.add(record.with_(verdict=Verdict.FAIL))
    run = read_run(path)
    assert run.verdict == "INCOMPLETE"
    assert "evidence.jsonl changed after the verdict PASS was decided" in run.reasons[0]


@pytest.mark.slow
def test_a_hundred_thousand_lines_are_read_one_at_a_time(folder: Any, a_record: Any, tmp_path: Path) -> None:
    record = a_record("erasure", "whole", "PASS", images=[{"model": "candidate", "prompt": "a boat " * 100}] * 3)
    line = json.dumps(record.to_json())
    with (folder.path / "evidence.jsonl").open("w") as stream:
        for number in range(100_000):
            stream.write(line.replace(record.case_id, f"case-{number % 200}") + "\n")
    path = folder.close()
    size = (path / "evidence.jsonl").stat().st_size
    peak = (  # of this program alone: ru_maxrss would begin with the memory of the process that started it
        "import sys; from pathlib import Path; from dmun_audit.evidence.run import read_run; run = read_run(Path(sys.argv[1]));"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'));"
        "print(len(run.cases), int(peak.split()[1]) * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", peak, str(path)], capture_output=True, text=True, check=True)
    cases, memory = map(int, done.stdout.split())
    assert cases == 200
    assert size > 250_000_000 > 200_000_000 > memory


def test_more_cases_than_any_plan_has_are_left_out_and_said(folder: Any, a_record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmun_audit.evidence.run.MOST_CASES", 3)
    for number in range(5):
        folder.add(a_record("erasure", f"case {number}", "PASS"))
    run = read_run(folder.close())
    assert [case.title for case in run.cases] == ["case 0", "case 1", "case 2"]
    assert run.verdict == "INCOMPLETE"
    assert "5 cases, more than any plan: the last 2 were not read" in run.reasons[0]
