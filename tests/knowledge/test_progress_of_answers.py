"""Progress while questions are open: answers, tokens and the time left, in plain lines that do not come too often."""

import re
import time
from dataclasses import replace

import pytest

from dmun_audit.cli import main
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.interview import progress as module
from dmun_audit.knowledge.interview.expected_questions import expected_interview
from dmun_audit.knowledge.interview.progress import AnswerProgress
from dmun_audit.knowledge.language_models.protocol import Answer

ANSWER = Answer("{}", 700, 300)


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines():
    return []


def answers(progress, clock, count, seconds):
    for _ in range(count):
        clock.now += seconds
        progress.answered(ANSWER)


def test_a_line_counts_answers_tokens_and_the_time_left(clock, lines):
    progress = AnswerProgress(39, lines.append, clock)
    progress.begin(0, 12)
    answers(progress, clock, 12, 30)
    assert lines[-1] == "12 of about 39 answers · 12,000 tokens · about 14 minutes left"
    assert len(lines) == 12


def test_lines_do_not_come_too_often(clock, lines):
    progress = AnswerProgress(200, lines.append, clock)
    progress.begin(0, 200)
    answers(progress, clock, 100, 0.125)
    assert len(lines) == 2
    assert lines[0].startswith("40 of about 200 answers · 40,000 tokens · less than a minute left")


def test_answers_of_the_transcript_count_and_say_nothing_of_the_speed(clock, lines):
    progress = AnswerProgress(39, lines.append, clock)
    progress.begin(20, 2)
    answers(progress, clock, 1, 60)
    assert lines[-1] == "21 of about 39 answers · 1,000 tokens"
    answers(progress, clock, 1, 60)
    assert lines[-1] == "22 of about 39 answers · 2,000 tokens · about 17 minutes left"


def test_time_between_questions_does_not_count(clock, lines):
    progress = AnswerProgress(10, lines.append, clock)
    progress.begin(0, 2)
    answers(progress, clock, 2, 60)
    clock.now += 10_000  # images are drawn
    progress.begin(0, 2)
    answers(progress, clock, 1, 60)
    assert lines[-1] == "3 of about 10 answers · 3,000 tokens · about 7 minutes left"


def test_more_questions_than_expected_raise_the_number(clock, lines):
    progress = AnswerProgress(2, lines.append, clock)
    progress.begin(0, 2)
    answers(progress, clock, 2, 60)
    assert lines[-1] == "2 of about 2 answers · 2,000 tokens"
    progress.begin(0, 3)
    answers(progress, clock, 1, 60)
    assert lines[-1] == "3 of about 5 answers · 3,000 tokens · about 2 minutes left"


def test_lines_come_while_a_batch_of_questions_is_open(brief, access, chat, lines, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.0)
    open_at = []

    def on_line(line):
        lines.append(line)
        open_at.append(len(chat.requests))

    def on_open(transcript):
        transcript.progress = AnswerProgress(expected_interview(2).questions, on_line)

    dossier = build_dossier(brief, replace(access, on_open=on_open))
    assert len(lines) == dossier.provenance.questions == chat.answered
    done, of, tokens = zip(
        *(re.match(r"(\d+) of about (\d+) answers · ([\d,]+) tokens", line).groups() for line in lines), strict=True
    )
    assert list(map(int, done)) == list(range(1, len(lines) + 1))
    assert int(tokens[-1].replace(",", "")) == dossier.provenance.tokens_in + dossier.provenance.tokens_out
    assert int(of[0]) == expected_interview(2).questions
    assert all(asked - answered <= 2 for asked, answered in zip(open_at, range(1, len(lines) + 1), strict=True))


def test_the_command_tells_progress_on_standard_error(chat, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "SECONDS", 0.2)
    oracle = chat.answer

    def slowly(body):
        time.sleep(0.05)
        return oracle(body)

    chat.answer = slowly
    command = ["dossier", "build", "Van Gogh", f"--llm={chat.url}#oracle", "-o", "made.json", "--repeats=1", "--concurrency=1"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    found = re.findall(r"^  (\d+) of about (\d+) answers · [\d,]+ tokens(?: · .* left)?$", err, re.MULTILINE)
    assert 1 <= len(found) < chat.answered
    assert "answers ·" not in out
    assert "\r" not in err
    assert "\x1b" not in err
