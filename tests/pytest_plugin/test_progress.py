"""What a running audit shows: images, time and cost to go, and claims as they are decided."""

import os
import pty
import re
import select
import sys
import time
from types import SimpleNamespace

import pyte
import pytest
from coarse import FEW_IMAGES, coarse_policy
from processes import run, start

from dmun_audit.pytest_plugin.drawn_counts import DrawnCounts, WorkerCount
from dmun_audit.pytest_plugin.progress import Left, Progress, duration
from dmun_audit.pytest_plugin.terminal_lines import TerminalLines

COLUMNS, LINES = 100, 50
STATE = re.compile(r"(\d+) images drawn · about ([\d,]+) to go, .* and \d+\.\d\d")


def command(folder, store, *options):
    policy = coarse_policy(folder / "coarse.toml", **FEW_IMAGES | {"steps": 4, "images": 16})
    return [
        sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--dmun-model=atelier:uce-van-gogh", "--dmun-target=Van Gogh",
        f"--dmun-policy={policy}", f"--dmun-store={store}", f"--dmun-audit-dir={folder / 'run'}", *options,
    ]  # fmt: skip


def progress(left, price=None, drawn=0, loaded=None):
    made = Progress(lines_on(None), lambda: left, price=price)
    made._started = 0.0
    made._loaded = loaded
    made._rendered = drawn
    return made


def lines_on(terminal):
    config = SimpleNamespace(
        pluginmanager=SimpleNamespace(get_plugin={"terminalreporter": terminal}.get), option=SimpleNamespace(verbose=0)
    )
    return TerminalLines(config, has_workers=True)


# One line.


def test_time_and_cost_follow_from_the_images_since_the_models_were_ready():
    line = progress(Left(200, 1000), price=3.6, loaded=100.0).state(now=150.0, drawn=50)
    assert line == "  50 images drawn · about 150 to go, 2 min and 0.15 · at most 950, 16 min and 0.95"


def test_the_cost_at_the_end_says_whether_anything_was_drawn():
    drawn, stored = progress(Left(0, 0), price=3.6), progress(Left(0, 0), price=3.6)
    drawn.rendered(50)
    assert drawn.cost(drawn._started + 100) == "cost: 0.10 for 2 min at 3.6 an hour (50 images drawn)"
    assert stored.cost(stored._started + 100).endswith("(no image drawn: all were in the store)")
    assert progress(Left(0, 0)).cost(1e9) == ""


def test_without_a_price_no_cost_is_told_and_equal_numbers_are_told_once():
    line = progress(Left(100, 100), loaded=0.0).state(now=10.0, drawn=20)
    assert line == "  20 images drawn · about 80 to go, 40 s"


def test_images_since_the_last_decided_case_are_subtracted():
    made = progress(Left(100, 300), loaded=1.0, drawn=40)
    made.decided()
    assert "about 90 to go" in made.state(now=11.0, drawn=50)
    assert "few to go · at most 100" in made.state(now=11.0, drawn=240)


def test_before_the_first_image_it_says_what_is_done():
    assert progress(Left(1, 1), loaded=None).state(now=12.0, drawn=0) == "  models are loading, 12 s so far"
    assert progress(Left(1, 1), loaded=3.0).state(now=12.0, drawn=0) == "  no image drawn yet, 12 s so far"


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (9000, "2.5 h")])
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_workers_count_in_files_and_a_file_that_is_being_written_counts_nothing():
    counts = DrawnCounts()
    assert not counts.any_ready()
    first, second = WorkerCount(counts.folder, "gw0"), WorkerCount(counts.folder, "gw1")
    first.rendered(0)
    assert counts.any_ready()
    first.rendered(16)
    first.rendered(16)
    second.rendered(4)
    assert counts.total() == 36
    (counts.folder / "gw2-1.count").write_text("")
    assert counts.total() == 36
    counts.end()
    assert not counts.folder.exists()
    first.rendered(1)  # the folder is gone: nothing is counted, and nothing breaks


# Whole sessions.


@pytest.mark.slow
def test_without_a_terminal_lines_tell_images_time_cost_and_claims(tmp_path):
    result = run(command(tmp_path, tmp_path / "store", "--dmun-gpu-price=2.5", "-n", "2"))
    lines = result.stdout.splitlines()
    states = [line for line in lines if STATE.search(line)]
    assert states, result.stdout
    assert states[0].startswith("  ")  # not glued to dots
    assert any(re.match(r"  erasure: [A-Z]+ · \d+ of \d+, estimate", line) for line in lines)
    assert "\x1b" not in result.stdout
    assert re.search(r"about \d+ images, at most \d+|up to \d+ images", result.stdout)
    assert re.search(r"^cost: \d+\.\d\d for .* at 2\.5 an hour \(\d+ images drawn\)$", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_quiet_sessions_show_neither(tmp_path):
    result = run(command(tmp_path, tmp_path / "store", "-q"))
    assert "images drawn" not in result.stdout
    assert not re.search(r"^  erasure: ", result.stdout, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-n", "0"), ("-n", "2")], ids=" ".join)
def test_a_terminal_has_one_line_that_is_gone_in_the_end(tmp_path, options):
    screen = pyte.HistoryScreen(COLUMNS, LINES, history=2000)
    seen = set()
    for _ in on_terminal(command(tmp_path, tmp_path / "store", *options), screen):
        shown = [line.rstrip() for line in screen.display if "images drawn" in line]
        assert len(shown) <= 1
        seen |= set(shown)
    assert seen
    history = ["".join(line[column].data for column in range(COLUMNS)) for line in screen.history.top]
    assert not [line for line in [*history, *screen.display] if "images drawn" in line]
    assert any(re.search(r"erasure: [A-Z]+ · ", line) for line in [*history, *screen.display])


def on_terminal(words, screen, term="xterm"):
    """Run a command in a pseudo-terminal; yields after everything that it writes."""
    stream = pyte.ByteStream(screen)
    terminal, theirs = pty.openpty()
    size = {"TERM": term, "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    process = start(words, env=os.environ | size, output=os.ttyname(theirs))
    ends = time.monotonic() + 300
    while time.monotonic() < ends:
        has_ended = not process.is_alive()  # asked before: what it wrote last is still there to read
        if select.select([terminal], [], [], 0.05)[0]:
            written = os.read(terminal, 65536)
            stream.feed(written)
            yield written
        elif has_ended:
            break
    process.join()
    os.close(terminal)
    os.close(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-k", "nothing_at_all"), ("--dmun-gpu-price=1",)], ids=" ".join)
def test_a_session_with_workers_leaves_no_temporary_folder(tmp_path, options):
    (tmp_path / "tmp").mkdir()
    words = command(
        tmp_path, tmp_path / "store", "-n", "1", "--dmun-base=atelier:nobody" if options[0] != "-k" else "-q", *options
    )
    run(words, env=os.environ | {"TMPDIR": str(tmp_path / "tmp")})
    assert not list((tmp_path / "tmp").glob("dmun-audit-*"))


@pytest.mark.slow
def test_a_dumb_terminal_gets_lines(tmp_path):
    screen = pyte.HistoryScreen(COLUMNS, LINES, history=2000)
    written = b"".join(on_terminal(command(tmp_path, tmp_path / "store"), screen, term="dumb"))
    assert b"images drawn" in written
    assert b"\x1b7" not in written


def test_a_line_that_is_late_is_not_written():
    terminal = Recorder()
    lines = lines_on(terminal)
    lines.state("  seen")
    lines.pause()
    lines.state("  while pytest writes")
    lines.resume()
    lines.end()
    lines.state("  after the end")
    assert terminal.lines == ["  seen"]


class Recorder:
    """Takes the lines that a terminal would show."""

    currentfspath = None
    _tw = SimpleNamespace(width_of_current_line=0)

    def __init__(self):
        self.lines = []

    def isatty(self):
        return False

    def write_line(self, line):
        self.lines.append(line)

    def ensure_newline(self):
        pass

    flush = ensure_newline


# Options.


def test_help_shows_each_option_once():
    words = run([sys.executable, "-m", "pytest", "audits/", "--help"]).stdout
    assert words.count("--gpu-price") == 1
    assert "--target=NAME" in words
    assert not re.search(r"--dmun-[a-z]", words)
    alone = run([sys.executable, "-m", "pytest", "--help"], cwd="/").stdout
    assert "--dmun-target=NAME" in alone


@pytest.mark.parametrize("price", ["-1", "nan", "cheap"])
def test_a_price_must_be_a_price(tmp_path, price):
    result = run(command(tmp_path, tmp_path / "store", f"--dmun-gpu-price={price}"))
    assert result.returncode == 4
    assert "--gpu-price" in result.stdout + result.stderr
    assert "give the price of an hour" in result.stdout + result.stderr
