"""A folder that holds runs, given where one run is wanted: the error lists them and says the whole command for one of them."""

import os
import shlex
import shutil

import pytest
from example_runs import example, folder  # noqa: F401

from dmun_audit._util.errors import FolderOfRuns, UsageError
from dmun_audit.cli import main
from dmun_audit.config.baseline import find_baseline
from dmun_audit.config.earlier_runs import target_of
from dmun_audit.config.regressions import find_regressions, run_with_attacks
from dmun_audit.knowledge.packs import open_knowledge

LAST = "van-gogh-b"


@pytest.fixture
def runs(example, tmp_path, monkeypatch):  # noqa: F811
    """Seven runs in audit-runs/, below the current folder. The one that was written last is neither the first nor the last by name."""
    for number, name in enumerate("acdefgb"):
        shutil.copytree(example, tmp_path / "audit-runs" / f"van-gogh-{name}")
        os.utime(tmp_path / "audit-runs" / f"van-gogh-{name}" / "manifest.json", (number, number))
    (tmp_path / "audit-runs" / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "audit-runs"


@pytest.mark.parametrize(
    "command",
    [
        "report {}",
        "summary {}",
        "card {} --card=README.md",
        "export {} --to=json -o out",
        "track {} --to=mlflow --project=erasers",
        "sign {} --key=key.pem",
        "reproduce {}",
        "spot-check {}",
    ],
)
@pytest.mark.parametrize("written", ["audit-runs", "./audit-runs/"])
def test_the_error_lists_runs_and_has_the_whole_command_for_the_last_one(command, written, runs, capsys):
    assert main(shlex.split(command.format(written))) == 4
    what, why, remedy = capsys.readouterr().err.splitlines()
    assert what == "ERROR: audit-runs is no run folder"
    assert why == f"  why:  it holds 7 runs: {LAST}, van-gogh-g, van-gogh-f, van-gogh-e, van-gogh-d and 2 more"
    assert remedy == f"  do:   name a run: dmun-audit {command.format(f'audit-runs/{LAST}')}"


def test_the_command_of_the_error_works(runs, capsys):
    assert main(["summary", "audit-runs"]) == 4
    command = shlex.split(capsys.readouterr().err.splitlines()[-1].partition("dmun-audit ")[2])
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("## ")


def test_a_home_folder_and_an_unknown_user_are_no_obstacle(runs, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(runs.parent))
    assert main(["track", "~/audit-runs", "--to=mlflow", "--project", "~nobody-has-this-name"]) == 4
    assert f"dmun-audit track {runs / LAST} --to=mlflow --project '~nobody" in capsys.readouterr().err


def test_a_folder_without_runs_gets_the_old_error(runs, capsys):
    assert main(["summary", "audit-runs/other"]) == 4
    assert "  why:  it holds no manifest.json\n" in capsys.readouterr().err


def test_an_option_of_an_audit_is_shown_with_one_run(runs):
    dossier = open_knowledge("atelier-van-gogh")
    for option, read in (
        ("--baseline", lambda: find_baseline(["audit-runs"], dossier, "base")),
        ("--baseline", lambda: target_of("baseline", "audit-runs")),
        ("--regress", lambda: find_regressions(["audit-runs"], dossier, "base")),
    ):
        with pytest.raises(UsageError) as raised:
            read()
        assert raised.value.what == f"{option}=audit-runs is no run folder"
        assert raised.value.why.startswith(f"it holds 7 runs: {LAST}, ")
        assert raised.value.remedy == f"name a run: {option}=audit-runs/{LAST}"
    with pytest.raises(FolderOfRuns):  # a command: it shows its own words
        run_with_attacks(runs, "audit-runs", dossier)


def test_a_name_of_a_folder_gives_the_terminal_no_commands(runs):
    (runs / LAST).rename(runs / "van\x1b[31m\n::error::gogh")
    with pytest.raises(FolderOfRuns) as raised:
        run_with_attacks(runs, "audit-runs", open_knowledge("atelier-van-gogh"))
    assert raised.value.why.startswith("it holds 7 runs: van?[31m?::error::gogh, ")


@pytest.mark.parametrize(
    ("command", "corrected"),
    [
        ("export audit-runs --to=json -o audit-runs", f"export audit-runs/{LAST} --to=json -o audit-runs"),
        ("export -o audit-runs ./audit-runs", f"export -o audit-runs audit-runs/{LAST}"),
        (
            "track audit-runs audit-runs/ --to=mlflow --project audit-runs",
            f"track {f'audit-runs/{LAST} ' * 2}--to=mlflow --project audit-runs",
        ),
    ],
)
def test_an_option_that_names_the_same_folder_stays(command, corrected, runs, capsys):
    assert main(shlex.split(command)) == 4
    assert capsys.readouterr().err.splitlines()[-1] == f"  do:   name a run: dmun-audit {corrected}"


@pytest.mark.parametrize("command", ["summary", "report", "inspect", "store list --store"])
def test_an_error_of_any_command_gives_the_terminal_no_commands(command, runs, capsys):
    hostile = "van\x1b[31m\x07\r\x9b2J\u202e\n  do:   rm"
    assert main([*command.split(), hostile]) == 4
    said = capsys.readouterr().err
    assert "van[31m2J" in said
    assert all(line.isprintable() for line in said.split("\n"))
    assert [line for line in said.splitlines() if line.startswith("  do:   rm")] == []


def test_a_hostile_name_of_the_run_that_is_shown_is_harmless_too(runs, capsys):
    (runs / LAST).rename(runs / "van\x1b[31m\n::error::gogh")
    assert main(["summary", "audit-runs"]) == 4
    said = capsys.readouterr().err
    assert "name a run: dmun-audit summary 'audit-runs/van[31m\n        ::error::gogh'" in said
    assert all(line.isprintable() for line in said.split("\n"))
