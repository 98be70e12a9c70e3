"""Where `dmun-audit compare -o` writes, what it never overwrites, and what reaches the terminal."""

import json

import pytest
from example_runs import WrittenRun, claim, record

from dmun_audit.cli import main
from dmun_audit.cli.compare import ENDINGS, refuse_output
from dmun_audit.comparison import runs as counted


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """The arguments that compare two runs. Their files are written here, so they hold no checked plan."""
    from dmun_audit.comparison import methods
    from dmun_audit.evidence.run import read_run

    monkeypatch.setattr(methods, "checked_run", read_run)
    folder = tmp_path / "runs"
    for name in ("one", "two"):
        run = WrittenRun(folder / name)
        run.manifest["models"]["candidate"] |= {"reference": f"models/{name}\x9b31m\x1b[31m", "weights_digest": name}
        run.manifest |= {"exit_code": 0, "verdict": "PASS"}
        run.add(record("erasure", "all", "PASS", pooled=True, claim=claim("rate_at_most", 0, 20, 0.0, 0.1, 0.2)))
        run.close()
    return ["compare", str(folder / "one"), str(folder / "two")]


def refused(capsys, arguments):
    """The message of a command that ends with one usage error."""
    assert main(arguments) == 4
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("ERROR") == 1
    return told.err


@pytest.mark.parametrize("place", ["manifest.json", "new.json", "images/table.md"])
def test_nothing_is_written_into_a_run_folder(compared, tmp_path, capsys, place):
    run = tmp_path / "runs" / "one"
    before = {each: each.read_bytes() for each in run.rglob("*") if each.is_file()}
    assert "is a run folder" in refused(capsys, [*compared, "-o", str(run / place)])
    link = tmp_path / "link.json"
    link.symlink_to(run / counted.MANIFEST)
    assert "is a run folder" in refused(capsys, [*compared, "-o", str(link)])
    assert {each: each.read_bytes() for each in run.rglob("*") if each.is_file()} == before


def test_a_file_that_is_no_comparison_stays(compared, tmp_path, capsys):
    for name in ("audit-policy.toml", "notes", "table.md"):
        path = tmp_path / name
        path.write_text("12 notes of mine")
        assert "is there already" in refused(capsys, [*compared, "--format=csv", "-o", str(path)])
        assert path.read_text() == "12 notes of mine"


@pytest.mark.parametrize("form", ENDINGS)
def test_an_earlier_comparison_is_replaced_whatever_its_ending(compared, tmp_path, capsys, form):
    path = tmp_path / "table"
    for _ in range(2):
        assert main([*compared, f"--format={form}", "-o", str(path)]) == 0
    for other in ENDINGS:
        refuse_output(path, other)
    assert main([*compared, "-o", str(path)]) == 0
    assert path.read_text().startswith("2 audits for")


def test_pooled_orderings_are_known_as_comparisons_too(tmp_path):
    for number, text in enumerate(
        ("8 concepts of 1 target, in 2 runs", "# 1 concept of 1 target", '{\n "format": 1,\n "runs": [],\n "left_out": []\n}')
    ):
        path = tmp_path / str(number)
        path.write_text(text)
        refuse_output(path, "text")


def test_a_file_with_an_ending_of_its_format_is_replaced(compared, tmp_path):
    path = tmp_path / "table.md"
    path.write_text("an older table")
    assert main([*compared, "-o", str(path)]) == 0
    assert path.read_text().startswith("# 2 audits")


def test_a_folder_that_is_not_there_and_a_folder_are_one_error(compared, tmp_path, capsys):
    assert "there is no folder" in refused(capsys, [*compared, "-o", str(tmp_path / "none" / "table.md")])
    assert not (tmp_path / "none").exists()
    assert "is a folder" in refused(capsys, [*compared, "--format=text", "-o", str(tmp_path)])


def test_a_dash_is_standard_output(compared, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*compared, "--format=json", "-o", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["methods"]) == 2
    assert main([*compared, "-o", "-"]) == 0
    assert capsys.readouterr().out.startswith("2 audits for")
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("form", ENDINGS)
def test_names_of_runs_reach_the_terminal_without_control_characters(compared, capsys, form):
    assert main([*compared, f"--format={form}"]) == 0
    assert capsys.readouterr().out.replace("\n", "").isprintable()
