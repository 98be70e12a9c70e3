"""Values of options that no user means: each ends in one error with what, why and what to do."""

from __future__ import annotations

import sys

import processes
import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.cli import main
from dmun_audit.config.options import Options
from dmun_audit.config.targets import resolve_all
from dmun_audit.judge.kinds import check_judge
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.models.references import parse_reference

NOBODY = "~no-such-user-here"
PATHS = ("model", "base", "knowledge", "policy", "judge", "detector", "unrelated", "audit_dir", "store")


def _resolve(option, value, tmp_path):
    given = {option: value} if option != "knowledge" else {}
    return resolve_all(Options(**given, root=str(tmp_path)), [], [value] if option == "knowledge" else [])


@pytest.mark.parametrize("option", PATHS)
def test_a_home_folder_of_nobody(option, tmp_path):
    prefix = {"judge": "local-dir:", "detector": "classifier:"}.get(option, "")
    with pytest.raises(UsageError) as caught:
        _resolve(option, f"{prefix}{NOBODY}/x" + ("#dog" if option == "detector" else ""), tmp_path)
    assert NOBODY in caught.value.what + caught.value.why
    assert caught.value.remedy


@pytest.mark.parametrize("option", sorted({*PATHS} - {"audit_dir", "store"}))  # folders that the audit makes, when it begins
def test_a_name_that_no_file_can_have(option, tmp_path):
    with pytest.raises(UsageError):
        _resolve(option, "x" * 5_000, tmp_path)


@pytest.mark.parametrize("text", [f"images:{NOBODY}", f"images:{NOBODY}/x", f"{NOBODY}/x", "images:" + "x" * 5_000])
def test_references_to_models(text):
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert caught.value.why


@pytest.mark.parametrize("text", [f"transcript:{NOBODY}/x", "transcript:" + "x" * 5_000])
def test_references_to_transcripts(text):
    with pytest.raises(UsageError):
        parse_language_model(text)


@pytest.mark.parametrize("text", [f"local-dir:{NOBODY}", f"references:{NOBODY}#{NOBODY}", f"faces:{NOBODY}/x.onnx#{NOBODY}"])
def test_references_to_judges(text):
    with pytest.raises(UsageError):
        check_judge(text)


def test_a_home_folder_that_exists(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ana")
    assert str(expanded("~/x")) == "/home/ana/x"
    assert str(expanded("a/~/x")) == "a/~/x"


def test_a_list_of_prompts_without_end(tmp_path):
    with pytest.raises(UsageError, match="no regular file"):
        _resolve("unrelated", "/dev/zero", tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", f"{NOBODY}/x"],
        ["inspect", "atelier:base", f"--base={NOBODY}/x"],
        ["inspect", "atelier:base", "--base=--"],
        ["requests", "--base=atelier:base", "--target=--"],
        ["requests", "--base=atelier:base", "--target=Van Gogh", "--audit-seed=--"],
        ["requests", "--base=atelier:base", f"--knowledge={NOBODY}/x"],
        ["requests", "--base=atelier:base", "--target=Van Gogh", f"--policy={NOBODY}/x"],
        ["dossier", "check", f"{NOBODY}/x"],
        ["report", f"{NOBODY}/x"],
    ],
    ids=" ".join,
)
def test_commands_end_with_exit_code_4(arguments, capsys):
    assert main(arguments) == 4
    message = capsys.readouterr().err
    assert message.startswith("ERROR: ")
    assert message.count("ERROR") == 1


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.parametrize("option", ["--dmun-target=--", "--dmun-audit-seed=--", "--dmun-model=--", f"--dmun-model={NOBODY}/x"])
def test_pytest_ends_with_exit_code_4(option, tmp_path):
    (tmp_path / "test_audit.py").write_text("def test_erasure(audit, erasure_case):\n    audit.check(erasure_case)\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_audit.py", option]
    ended = processes.run(command, cwd=tmp_path)
    assert ended.returncode == 4, ended.stdout + ended.stderr
    assert "INTERNALERROR" not in ended.stdout + ended.stderr
    assert ended.stderr.count("ERROR: ") == 1
