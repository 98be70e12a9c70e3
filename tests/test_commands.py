"""`dmun-audit …`: what a user types outside of pytest."""

import json
from pathlib import Path

import pytest

from dmun_audit.cli import main
from dmun_audit.cli.init import TEMPLATE

ROOT = Path(__file__).parent.parent


def test_init_lays_down_what_this_repository_uses_itself(tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == 0
    ours = {path.relative_to(ROOT): path.read_text() for path in [*ROOT.glob("audits/test_*.py"), ROOT / "conftest.py"]}
    laid = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py")}
    assert laid == ours
    assert len(list(TEMPLATE.iterdir())) == len(laid)
    assert (tmp_path / "audit-policy.toml").read_text() == (ROOT / "dmun_audit/policy/built_in/standard.toml").read_text()
    assert "pytest audits/" in capsys.readouterr().out


def test_init_overwrites_nothing(tmp_path, capsys):
    (tmp_path / "conftest.py").write_text("mine")
    assert main(["init", str(tmp_path)]) == 4
    assert "conftest.py" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["conftest.py"]
    assert (tmp_path / "conftest.py").read_text() == "mine"


def test_schema_prints_the_schema_that_the_packs_follow(capsys):
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"target", "concepts", "adversarial", "provenance"} <= set(schema["properties"])


def test_report_of_a_folder_that_is_none_names_it(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 4
    said = capsys.readouterr().err
    assert "nowhere" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("arguments", [[], ["nonsense"]])
def test_an_unknown_command_prints_usage(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage: dmun-audit" in capsys.readouterr().err
