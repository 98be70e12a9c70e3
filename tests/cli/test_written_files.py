"""Commands that write files for other tools name each file, and say whether a model card was there before."""

import json
import shutil
from pathlib import Path

import pytest
from example_runs import example, folder  # noqa: F401

from dmun_audit.cli import main


@pytest.fixture
def run(example, tmp_path, monkeypatch):  # noqa: F811
    """The example as a folder of an earlier format, which has no SHA256SUMS, in the current folder."""
    shutil.copytree(example, tmp_path / "run")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text()) | {"format": 2}
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    return "run"


def test_a_card_that_was_not_there_is_created_and_one_that_was_is_updated(run, capsys):
    Path("README.md").write_text("# Ours\n")
    assert main(["card", run, "--card=REDME.md"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("created REDME.md: the section on Van Gogh and ")
    assert said.endswith("; there was no such file\n")
    for name in ("REDME.md", "README.md"):
        assert main(["card", run, f"--card={name}"]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"updated {name}: the section on Van Gogh and ")
        assert "no such file" not in said
    assert Path("README.md").read_text().count("# Ours\n") == 1


def test_export_names_every_file_that_it_wrote(run, capsys):
    assert main(["export", run, "-o", "out", "--to=csv", "--to=json", "--to=ctrf", "--to=parquet"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == sorted(f"wrote {path}" for path in Path("out").iterdir())
    assert len(said) == 6
