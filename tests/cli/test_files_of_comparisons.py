"""Where `dmun-audit compare -o` writes, what it never overwrites, and what of a run reaches the terminal."""

import json

import pytest
from example_runs import WrittenRun, claim, record

from dmun_audit.cli import main
from dmun_audit.cli.compare import ENDINGS, json_text, refuse_output
from dmun_audit.comparison.method_tables import written
from dmun_audit.comparison.methods import methods_table
from dmun_audit.evidence.run import read_run


@pytest.fixture
def runs(tmp_path):
    """Two run folders, with names of candidates that would change the colours of a terminal."""
    folders = []
    for name in ("one", "two"):
        run = WrittenRun(tmp_path / "runs" / name)
        run.manifest["models"]["candidate"] |= {"reference": f"models/{name}\x9b31m\x1b[31m", "weights_digest": name}
        run.manifest |= {"exit_code": 0, "verdict": "PASS"}
        run.add(record("erasure", "all", "PASS", pooled=True, claim=claim("rate_at_most", 0, 20, 0.0, 0.1, 0.2)))
        folders.append(run.close())
    return folders


@pytest.fixture
def table(runs):
    return methods_table([read_run(folder) for folder in runs])


def comparison(table, form):
    """The text of a table, as the command writes it."""
    return json_text(table.to_json()) if form == "json" else written(table, form)


def refused(capsys, arguments):
    """The message of a command that ends with one usage error."""
    assert main([*map(str, arguments)]) == 4
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("ERROR") == 1
    return told.err


@pytest.mark.parametrize("place", ["manifest.json", "new.json", "images/table.md"])
def test_nothing_is_written_into_a_run_folder(runs, tmp_path, capsys, place):
    def content():
        return {each: each.read_bytes() for each in runs[0].rglob("*") if each.is_file()}

    before = content()
    link = tmp_path / "link.json"
    link.symlink_to(runs[0] / "manifest.json")
    for output in (runs[0] / place, link):
        assert "is a run folder" in refused(capsys, ["compare", *runs, "-o", output])
    assert content() == before


def test_a_project_with_a_manifest_of_its_own_is_no_run_folder(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "tables").mkdir()
    refuse_output(tmp_path / "tables" / "table.md", "markdown")


@pytest.mark.parametrize("name", ["audit-policy.toml", "notes", "table.md"])
def test_a_file_that_is_no_comparison_stays(runs, tmp_path, capsys, name):
    path = tmp_path / name
    path.write_text("12 notes of mine")
    assert "is there already" in refused(capsys, ["compare", *runs, "--format=csv", "-o", path])
    assert path.read_text() == "12 notes of mine"


@pytest.mark.parametrize("form", ENDINGS)
def test_an_earlier_comparison_may_be_replaced_whatever_its_ending(table, tmp_path, form):
    path = tmp_path / "table"
    path.write_text(comparison(table, form))
    for other in ENDINGS:
        refuse_output(path, other)


def test_a_file_with_an_ending_of_the_format_may_be_replaced(tmp_path):
    for form, endings in ENDINGS.items():
        path = tmp_path / f"older{endings[0]}"
        path.write_text("an older table")
        refuse_output(path, form)


def test_a_folder_that_is_not_there_and_a_folder_are_one_error(runs, tmp_path, capsys):
    assert "there is no folder" in refused(capsys, ["compare", *runs, "-o", tmp_path / "none" / "table.md"])
    assert not (tmp_path / "none").exists()
    assert "too long" in refused(capsys, ["compare", *runs, "-o", tmp_path / f"{'x' * 300}.md"])
    assert "is a folder" in refused(capsys, ["compare", *runs, "--format=text", "-o", tmp_path])


@pytest.mark.parametrize("form", ENDINGS)
def test_names_of_runs_come_without_characters_that_a_terminal_obeys(table, form):
    assert "\x1b" in table.rows[0].name
    text = comparison(table, form)
    assert "one" in text
    assert text.replace("\n", "").isprintable()
    if form == "json":
        assert [row["name"] for row in json.loads(text)["methods"]] == [row.name for row in table.rows]  # escaped, not lost
