"""What the terminal shows: short, true, harmless, at most 100 columns."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from example_runs import claim, record

from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.schema import ClaimRecord
from dmun_audit.report.formatting import claim_text, hundredths, number, one_line, percent, printable, thousandths
from dmun_audit.report.scope import scope_lines
from dmun_audit.report.text import failure_text, summary_lines, wrapped


def columns(line: str) -> int:
    """Terminal columns of a line."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)


def test_the_summary_names_groups_failures_verdict_and_report(example: Path) -> None:
    lines = summary_lines(read_run(example))
    for group in ("controls", "erasure", "adversarial", "retention", "ordering"):
        assert sum(line.startswith(group) for line in lines) == 1
    assert sum(line.startswith("FAIL ") for line in lines) == 1
    assert sum(line.startswith("INCONCLUSIVE ") for line in lines) == 2
    verdict = next(place for place, line in enumerate(lines) if line.startswith("VERDICT FAIL"))
    assert verdict > max(place for place, line in enumerate(lines) if line.startswith(("FAIL ", "INCONCLUSIVE ")))
    assert lines[-1] == f"report: {example / 'report.html'}"
    assert all(columns(line) <= 100 for line in lines[:-1])


def test_a_summary_without_any_case_still_gives_the_verdict(folder: Any) -> None:
    folder.manifest |= {"verdict": "INCOMPLETE", "reasons": ["The judge cannot see the target."], "warnings": []}
    lines = summary_lines(read_run(folder.close()))
    assert "VERDICT INCOMPLETE: The judge cannot see the target." in lines
    assert any(line.strip().startswith("Tried: nothing. ") for line in lines)
    assert any(line.strip() == "No test ran. Nothing is said about the candidate." for line in lines)


def test_an_audit_of_controls_alone_says_nothing_about_the_candidate(folder: Any) -> None:
    folder.add(record("controls", "The judge sees it", "FAIL", claim=claim("rate_at_least", 1, 16, 0, 0.3, 0.5)))
    said = " ".join(scope_lines(read_run(folder.close())))
    assert "Tried: nothing but the controls." in said
    assert "The controls look at the base model. Nothing is said about the candidate." in said


def test_the_settings_name_an_acceleration_where_there_was_one(folder: Any) -> None:
    folder.manifest["sampler"]["acceleration"] = "layout"
    assert "in float32, acceleration layout." in scope_lines(read_run(folder.close()))[0]


def test_a_failure_text_holds_everything_in_100_columns(example: Path) -> None:
    run = read_run(example)
    for case in run.cases:
        text = failure_text(case)
        assert all(columns(line) <= 100 for line in text.splitlines())
        assert text.isprintable() or text.replace("\n", "").isprintable()
    record = next(case for case in run.cases if case.verdict == "FAIL")
    text = failure_text(record)
    assert text.startswith("FAIL: ")
    for part in ("claim:", "result:", "numbers:", "do:", "image:"):
        assert f"\n  {part}" in text
    named = [line.strip() for line in text.splitlines() if line.strip().startswith("images/")]
    assert len(named) == 3
    assert all((example / path).is_file() for path in named)


def test_escape_sequences_do_not_reach_the_terminal(a_record: Any) -> None:
    text = failure_text(a_record("erasure", "\x1b[31mred\x1b]0;title\x07\r\nnext", "FAIL", seen="a\x9bb"))
    assert not any(unicodedata.category(character) == "Cc" for character in text if character != "\n")
    assert "[31mred" in text


@pytest.mark.parametrize("text", ["word " * 80, "x" * 350, "世" * 120, "ゴッホ 風の " * 30, "", "   "])
def test_wrapping_loses_nothing_and_keeps_to_100_columns(text: str) -> None:
    lines = wrapped(text, "    ", "  label: ")
    assert all(columns(line) <= 100 for line in lines)
    assert "".join("".join(lines).split()) == "label:" + "".join(text.split())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0495, "4.95%"),
        (0.0504, "5.04%"),
        (0.0, "0%"),
        (1.0, "100%"),
        (-0.25, "-25%"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_a_percentage_keeps_apart_what_a_ceiling_keeps_apart(value: float | None, said: str) -> None:
    assert percent(value) == said


def test_correlations_have_two_decimals_and_a_proper_minus_sign() -> None:
    assert [hundredths(x) for x in (0.3, -0.0789, 1, -1.0, -0.001, None, float("nan"))] == [
        "0.30",
        "−0.08",
        "1.00",
        "−1.00",
        "0.00",
        "–",
        "–",
    ]
    assert [thousandths(x) for x in (0.81, -0.0767, -0.0001, None)] == ["0.810", "−0.077", "0.000", "–"]


def test_numbers_of_all_kinds() -> None:
    assert [number(x) for x in (181, 1530, 0.123456, 2.0, True, None, "7")] == [
        "181", "1,530", "0.123", "2", "–", "–", "–",
    ]  # fmt: skip


def test_a_claim_tells_the_bound_that_decides() -> None:
    rate = ClaimRecord(
        kind="rate_at_most", hits=2, trials=192, estimate=2 / 192, lower=0.0005, upper=0.0324, threshold=0.05
    )  # fmt: skip
    assert claim_text(rate) == "2 of 192, estimate 1.04%, at most 3.24%, ceiling 5%"
    assert "at least 0.05%, floor 5%" in claim_text(rate.model_copy(update={"kind": "rate_at_least", "upper": 0.07}))
    assert "2 of 192 pairs lost" in claim_text(rate.model_copy(update={"kind": "paired_accuracy"}))
    score = ClaimRecord(kind="paired_score", trials=72, estimate=0.00946, upper=0.0247, threshold=0.12)
    assert claim_text(score) == "72 pairs, mean loss of CLIP score 0.00946, at most 0.0247, margin 0.12"
    assert claim_text(ClaimRecord(kind="validity", hits=8, trials=10, threshold=8)) == "8 of 10, floor 8"
    assert claim_text(None) == ""


def test_cleaning_keeps_letters_of_every_script_and_drops_what_deceives() -> None:
    assert printable("é 世 🎨 \u200d a\tb\nc") == "é 世 🎨 \u200d a b\nc"
    assert printable("a\u202e\u2066\ufeff\x00\x7f\x9b\ud800\uffffb") == "ab"
    assert one_line("  a \n\n b\t") == "a b"
