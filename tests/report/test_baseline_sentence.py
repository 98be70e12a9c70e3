"""What reports say of a baseline in one sentence."""

from dataclasses import replace

import pytest
from example_runs import WrittenRun, claim, record

from dmun_audit.evidence.run import read_run
from dmun_audit.plan.baseline import BASELINE
from dmun_audit.report.baseline import baseline_lines
from dmun_audit.report.exports.model_card import card_section
from dmun_audit.report.exports.summary import summary_markdown
from dmun_audit.report.exports.whole import whole_audit
from dmun_audit.report.html.page import render_html
from dmun_audit.report.text import summary_lines

FACTS = {"reference": "outputs/last.safetensors", "audit_hash": "1234abcd" * 8, "tensors_digest": "e" * 64, "verdict": "PASS"}
WORSE = "worse on adversarial prompts (9 worse and 1 better of 40 pairs)"
ALIKE = "not worse beyond chance on direct prompts (2 worse and 3 better of 48 pairs)"


def compared(folder: WrittenRun, group: str, verdict: str, worse: int, better: int, pairs: int):
    numbers = claim("baseline", worse, pairs, 0.0, 0.2, 0.0, gains=better)
    return folder.add(record(BASELINE, group, verdict, case_id=f"{group}-12345678", claim=numbers))


@pytest.fixture
def worse(folder: WrittenRun):
    folder.manifest |= {"verdict": "FAIL", "exit_code": 1, "baseline": FACTS}
    compared(folder, "erasure", "PASS", 2, 3, 48)
    compared(folder, "adversarial", "FAIL", 9, 1, 40)
    folder.add(record("erasure", "gone", "PASS", pooled=True, claim=claim("rate_at_most", 0, 64, 0, 0.049, 0.05)))
    return read_run(folder.close())


def test_it_says_on_which_prompts_the_candidate_is_worse_and_on_which_it_is_not(worse):
    expected = f"Against the baseline outputs/last.safetensors (run 1234abcd), this candidate is {WORSE}, and {ALIKE}."
    assert baseline_lines(worse) == [expected]


@pytest.mark.parametrize(
    "shown",
    [
        lambda run: " ".join(" ".join(summary_lines(run)).split()),
        summary_markdown,
        card_section,
        render_html,
        lambda run: " ".join(whole_audit(run).baseline),
    ],
    ids=["terminal", "summary", "card", "page", "audit.json"],
)
def test_every_report_says_it_and_none_without_a_baseline(worse, folder, shown):
    assert WORSE in shown(worse)
    folder.manifest |= {"baseline": {}}
    alone = read_run(folder.close())
    object.__setattr__(alone, "cases", tuple(case for case in alone.cases if case.group != BASELINE))
    assert "Against the baseline" not in shown(alone)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, ""),
        ({"verdict": "FAIL"}, "The audit of the baseline ended with FAIL: being no worse than it proves little."),
        ({"tensors_digest": "f" * 64}, "The baseline has the same weights, so this comparison can find nothing."),
    ],
)
def test_it_says_where_a_comparison_says_little(folder: WrittenRun, facts, words):
    models = {"candidate": {"reference": "x", "tensors_digest": "f" * 64}}
    folder.manifest |= {"verdict": "PASS", "exit_code": 0, "baseline": FACTS | facts, "models": models}
    compared(folder, "retention", "PASS", 0, 0, 28)
    first, *doubts = baseline_lines(read_run(folder.close()))
    assert first.endswith("is not worse beyond chance on nearby concepts (0 worse and 0 better of 28 pairs).")
    assert doubts == ([words] if words else [])


def test_too_few_pairs_to_tell_are_not_called_no_worse(folder: WrittenRun):
    folder.manifest |= {"verdict": "INCONCLUSIVE", "exit_code": 12}
    compared(folder, "erasure", "INCONCLUSIVE", 1, 0, 1)
    assert baseline_lines(read_run(folder.close())) == [
        "Against the baseline, this candidate is perhaps worse, on too few pairs to tell, on direct prompts (1 worse and 0 better of 1 pair)."
    ]


def test_a_run_whose_files_contradict_each_other_compares_nothing(worse):
    assert baseline_lines(replace(worse, contradictions=("A file changed.",))) == []


def test_a_title_gives_the_terminal_no_commands(folder: WrittenRun):
    folder.manifest |= {"verdict": "PASS", "exit_code": 0}
    compared(folder, "new\x1b[31m", "PASS", 0, 0, 5)
    assert "\x1b" not in " ".join(summary_lines(read_run(folder.close())))


def test_a_comparison_that_this_version_does_not_know_has_its_title(folder: WrittenRun):
    folder.manifest |= {"verdict": "PASS", "exit_code": 0}
    compared(folder, "something new", "PASS", 0, 0, 5)
    assert baseline_lines(read_run(folder.close())) == [
        "Against the baseline, this candidate is not worse beyond chance on something new (0 worse and 0 better of 5 pairs)."
    ]
