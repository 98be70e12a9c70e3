"""No text of a dossier or a model reaches GitHub Actions as a command."""

import json
import os
import sys

import processes
import pytest
from coarse import coarse_policy
from dossier_files import write_dossier
from hypothesis import given
from hypothesis import strategies as st

from dmun_audit._util.workflow_commands import EscapedStream, Escaper, escaped
from dmun_audit.cli import main

HOSTILE = [
    "::error::boo",
    "  ::set-output name=x::y",
    "\t\u3000::stop-commands::z",
    "x ##[error]boo",
    "##[warning]",
    ":::x",
    ": :error::x",
]
HARMLESS = [
    "a::b",
    "audits/test_mine.py::test_it PASSED",
    ": one colon",
    "## a heading",
    "#[x]",
    "",
    "\\::error::",
    "std::vector",
    "] ##",
    " [x]",
]


def obeys(line):
    """Whether the runner of GitHub Actions reads a line as a command."""
    return line.lstrip().lstrip("\ufeff\u200b").lstrip().startswith("::") or "##[" in line


def lines(text):
    """The lines of a text, as the runner splits them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@pytest.mark.parametrize("text", HOSTILE[:-1])
def test_a_command_is_escaped_and_stays_readable(text):
    assert obeys(text)
    said = Escaper()(text)
    assert not obeys(said)
    assert said.replace("\\::", "::").replace("\\u005b", "[") == text


@pytest.mark.parametrize("text", [*HARMLESS, HOSTILE[-1]])
def test_other_texts_stay_as_they_are(text):
    assert Escaper()(f"{text}\n{text}") == f"{text}\n{text}"


@given(st.lists(st.text(alphabet=":#[ \r\n\tab\u200b\ufeff\x1b", max_size=6), max_size=8))
def test_no_command_comes_through_however_a_text_is_cut_into_pieces(pieces):
    escape = Escaper()
    said = "".join(map(escape, pieces))
    assert not any(map(obeys, lines(said))), said
    assert said.replace("\\:", ":").replace("\\u005b", "[") == "".join(pieces)
    if not any(map(obeys, lines("".join(pieces)))):
        assert said == "".join(pieces)


def test_a_bracket_inside_of_json_keeps_its_meaning():
    content = {"name": "##[error]boo", "also": ["::error::x\n::y"]}
    assert json.loads(Escaper()(json.dumps(content, indent=1))) == content


def test_a_stream_is_the_stream_otherwise(tmp_path):
    with (tmp_path / "out").open("w") as file:
        stream = EscapedStream(file)
        stream.writelines([":", ":error::x\n", "plain\n"])
        assert stream.fileno() == file.fileno()
    assert (tmp_path / "out").read_text() == ":\\:error::x\nplain\n"


def test_nothing_is_escaped_anywhere_else(monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert escaped("::error::x") == "::error::x"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert escaped("::error::x") == "\\::error::x"


# Whole commands.


@pytest.mark.parametrize("name", ["no/such\n::error::folder", "no/such\n##[error]folder"])
def test_errors_of_commands_are_escaped(name, monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert main(["report", name]) == 4
    assert any(map(obeys, lines(capsys.readouterr().err)))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(["report", name]) == 4
    assert not any(map(obeys, lines(capsys.readouterr().err)))


def test_a_dossier_is_shown_without_commands(monkeypatch, capsys, tmp_path):
    dossier = write_dossier(tmp_path / "evil.json", "atelier-van-gogh", name="::error::boo ##[error]boo")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(["dossier", "show", str(dossier)]) == 0
    said = capsys.readouterr().out
    assert "error]boo" in said
    assert not any(map(obeys, lines(said)))


TESTS = """
def test_ours(audit, control): assert False, "\\n::error::boo\\n  ::set-output name=x::y\\n ##[error]boo"
def test_printing(audit):
    print("::stop-commands::z")
    assert False
"""


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.parametrize(("workers", "github"), [([], True), (["-n", "1"], True), ([], False)], ids=["-n 0", "-n 1", "elsewhere"])
def test_the_terminal_of_an_audit_holds_no_command(workers, github, tmp_path, store, monkeypatch):
    root = processes.TESTS.parent
    (tmp_path / "audits").mkdir()
    (tmp_path / "audits" / "test_mine.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text((root / "conftest.py").read_text())
    dossier = write_dossier(tmp_path / "evil.json", "atelier-van-gogh", name="::error::boo ##[error]boo")
    policy = coarse_policy(tmp_path / "quick.toml", steps=1)
    monkeypatch.setenv("GITHUB_ACTIONS", "true") if github else monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "audits",
        "-p",
        "no:cacheprovider",
        f"--knowledge={dossier}",
        "-rA",
        "-v",
        *workers,
    ]
    run = processes.run([*command, f"--policy={policy}", f"--store={store}", f"--audit-dir={tmp_path / 'run'}"], cwd=tmp_path)
    assert run.returncode == 10, run.stdout + run.stderr
    said = lines(run.stdout + run.stderr)
    assert any("::error::boo" in line for line in said)
    assert [line for line in said if obeys(line)] == [] if github else any(map(obeys, said))


@pytest.mark.slow
@pytest.mark.end_to_end
def test_an_error_before_the_tests_holds_no_command(tmp_path):
    (tmp_path / "test_mine.py").write_text("def test_ours(audit, control): audit.check(control)\n")
    command = [sys.executable, "-m", "pytest", str(tmp_path), "-p", "no:cacheprovider", "--dmun-target=nobody\n::error::x"]
    for github, found in (("true", False), ("", True)):
        environment = {**os.environ, "GITHUB_ACTIONS": github}
        run = processes.run([*command, "--dmun-model=atelier:base\n##[error]x"], cwd=tmp_path, env=environment)
        assert run.returncode == 4, run.stdout
        assert any(map(obeys, lines(run.stdout + run.stderr))) is found, run.stdout + run.stderr
