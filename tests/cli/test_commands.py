"""`dmun-audit …`: the commands outside of pytest."""

import json
import logging
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from dmun_audit.cli import main
from dmun_audit.cli.init import CI_FILES, TEMPLATE
from dmun_audit.cli.schema import SCHEMAS
from dmun_audit.policy import BUILT_IN

ROOT = Path(__file__).parents[2]


def test_init_lays_down_what_this_repository_uses_itself(tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == 0
    ours = {path.relative_to(ROOT): path.read_text() for path in [*ROOT.glob("audits/test_*.py"), ROOT / "conftest.py"]}
    laid = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py")}
    assert laid == ours
    assert len(list(TEMPLATE.glob("*.py.txt"))) == len(laid)
    assert (tmp_path / "audit-policy.toml").read_text() == (ROOT / "dmun_audit/policy/built_in/standard.toml").read_text()
    assert "pytest audits/" in capsys.readouterr().out


@pytest.mark.parametrize("server", ["github", "gitlab"])
def test_init_writes_ci_files_that_are_yaml_and_ask_for_the_audit(server, tmp_path):
    assert main(["init", str(tmp_path), f"--ci={server}"]) == 0
    texts = [(tmp_path / path).read_text() for path in CI_FILES[server]]
    assert {key for text in texts for key in yaml.safe_load(text)} >= ({"jobs", "runs"} if server == "github" else {"audit"})
    assert sum("pytest audits/" in text for text in texts) == 1
    assert all("audit-policy.toml" in text for text in texts)
    assert (tmp_path / ".gitignore").read_text() == "audit-runs/\n.audit-store/\naudit-run/\naudit-baseline/\n"


def test_init_adds_to_a_gitignore_what_it_lacks_and_keeps_the_rest(tmp_path):
    (tmp_path / ".gitignore").write_text("*.pyc\naudit-runs/")
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\naudit-runs/\n.audit-store/\naudit-run/\naudit-baseline/\n"


def _contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_init_leaves_a_conftest_of_somebody_else_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "conftest.py").write_text("mine")
    assert main(["init", str(tmp_path)]) == 4
    assert "already has conftest.py with other content" in capsys.readouterr().err
    assert _contents(tmp_path) == {"conftest.py": b"mine"}


OWN_OPTIONS = """import dmun_audit.plugin
import pytest

@pytest.fixture
def mine(): ...

def pytest_addoption(parser):
    dmun_audit.plugin.add_options(parser, prefix="--")
"""


@pytest.mark.parametrize(
    ("conftest", "test", "refused"),
    [
        ("mine", "mine", "audits/test_probes.py, conftest.py"),
        ("mine", None, "conftest.py"),
        ('# add_options(parser, "--")', None, "conftest.py"),
        (None, "mine", "audits/test_probes.py"),
        (OWN_OPTIONS, "mine", None),
    ],
)
def test_a_folder_is_set_up_by_our_options_and_not_by_a_name(conftest, test, refused, tmp_path, capsys):
    (tmp_path / "audits").mkdir()
    template = (TEMPLATE / "test_probes.py.txt").read_text()
    for path, text in (("conftest.py", conftest), ("audits/test_probes.py", test or template)):
        if text:
            (tmp_path / path).write_text(text)
    before = _contents(tmp_path)
    assert main(["init", str(tmp_path)]) == (4 if refused else 0)
    printed, after = capsys.readouterr(), _contents(tmp_path)
    assert {name: after[name] for name in before} == before
    if refused:
        assert f"already has {refused} with other content" in printed.err
        assert after == before
    else:
        assert f"kept {tmp_path / 'audits/test_probes.py'}, which differs from what this version writes\n" in printed.out


def test_init_names_the_policy_that_it_writes_or_keeps(tmp_path, capsys):
    policy = tmp_path / "audit-policy.toml"
    policy.write_bytes((BUILT_IN / "smoke.toml").read_bytes())
    assert main(["init", str(tmp_path)]) == 0
    assert f"kept {policy}, the policy smoke\n" in capsys.readouterr().out
    policy.unlink()
    assert main(["init", str(tmp_path), "--policy=release"]) == 0
    assert f"wrote {policy}, the policy release\n" in capsys.readouterr().out
    for more in ([], ["--policy=release"]):
        assert main(["init", str(tmp_path), *more]) == 0
        assert f"kept {policy}, the policy release\n" in capsys.readouterr().out
    policy.unlink()
    assert main(["init", str(tmp_path)]) == 0
    assert f"wrote {policy}, the policy standard\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "kind", "problem"),
    [
        (".gitignore", "folder", "is no file"),
        ("conftest.py", "folder", "is no file"),
        ("audits", "file", "is no folder"),
        (".", "file", "is no folder"),
        ("audits", "nowhere", "is a link that leads nowhere"),
        ("conftest.py", "nowhere", "is a link that leads nowhere"),
        (".github", "itself", "is a link that leads nowhere"),
        ("audits", "out", "is a link that leads out of the folder"),
        (".gitignore", "out", "is a link that leads out of the folder"),
    ],
)
def test_init_checks_every_place_before_it_writes(place, kind, problem, tmp_path, capsys):
    folder, elsewhere = tmp_path / "repository", tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = folder / place
    path.parent.mkdir(exist_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to({"nowhere": elsewhere / "new", "itself": path, "out": elsewhere}[kind])
    if (place, kind) == (".gitignore", "out"):
        path.unlink()
        (elsewhere / "ignored").write_text("mine")
        path.symlink_to(elsewhere / "ignored")
    before = _contents(tmp_path)
    assert main(["init", str(folder), "--ci=github"]) == 4
    assert f"  why:  {path} {problem}\n" in capsys.readouterr().err
    assert _contents(tmp_path) == before


def test_a_link_within_the_folder_is_followed(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "audits").symlink_to("tests")
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "tests/test_probes.py").is_file()


@pytest.mark.parametrize("server", ["github", "gitlab", "jenkins"])
def test_init_adds_the_files_of_a_ci_server_to_a_folder_that_is_set_up(server, tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == 0
    (tmp_path / "audit-policy.toml").write_text('name = "ours"\n')
    (tmp_path / "conftest.py").write_bytes((tmp_path / "conftest.py").read_bytes().replace(b"\n", b"\r\n"))  # as git may do
    before = _contents(tmp_path)
    capsys.readouterr()
    assert main(["init", str(tmp_path), f"--ci={server}"]) == 0
    said, added = capsys.readouterr().out.splitlines(), set(CI_FILES[server])
    after = _contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == added
    assert {line for line in said if line.startswith("wrote ")} == {f"wrote {tmp_path / name}" for name in added}
    assert [line for line in said if line.startswith("kept ")] == [
        f"kept {len(list((tmp_path / 'audits').iterdir()))} files in {tmp_path / 'audits'}",
        f"kept {tmp_path / 'conftest.py'}",
        f"kept {tmp_path / 'audit-policy.toml'}, which differs from what this version writes",
    ]


def test_init_writes_a_test_that_a_folder_lacks(tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == 0
    (tmp_path / "audits" / "test_probes.py").unlink()
    capsys.readouterr()
    assert main(["init", str(tmp_path)]) == 0
    assert f"wrote {tmp_path / 'audits' / 'test_probes.py'}\n" in capsys.readouterr().out
    assert main(["init", str(tmp_path)]) == 0
    assert "wrote" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (".gitlab-ci.yml", ["--ci=gitlab"], "already has .gitlab-ci.yml with other content"),
        ("audit-policy.toml", ["--policy=release", "--ci=gitlab"], "is not the policy release"),
        ("audit-policy.toml", ["--policy=standard", "--ci=gitlab"], "is not the policy standard"),
    ],
)
def test_init_refuses_a_file_that_differs_from_what_was_asked_for(name, arguments, said, tmp_path, capsys):
    assert main(["init", str(tmp_path)]) == 0
    (tmp_path / name).write_text("# mine\n")
    before = _contents(tmp_path)
    assert main(["init", str(tmp_path), *arguments]) == 4
    assert said in capsys.readouterr().err
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("arguments", [["schema"], ["schema", "dossier"]])
def test_schema_prints_the_schema_that_the_packs_follow(arguments, capsys):
    assert main(arguments) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"target", "concepts", "adversarial", "provenance"} <= set(schema["properties"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_a_json_schema_of_an_object(name, capsys):
    assert main(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_report_of_a_folder_that_is_none_names_it(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 4
    message = capsys.readouterr().err
    assert "nowhere" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("arguments", "what", "command"),
    [
        ([], "the following arguments are required: COMMAND", "dmun-audit"),
        (["nonsense"], "argument COMMAND: invalid choice: 'nonsense'; ", "dmun-audit"),
        (["dossier", "build", "Van Gogh"], "the following arguments are required: --llm", "dmun-audit dossier build"),
        (
            ["dossier", "build", "x", "--llm=a:b", "--repeats=many"],
            "--repeats: invalid int value: 'many'",
            "dmun-audit dossier build",
        ),
        (["dossier", "build", "x", "--llm=a:b", "--bogus"], "unrecognized arguments: --bogus", "dmun-audit dossier build"),
        (["dossier", "order", "church", "--llm=a:b"], "required: -o/--output", "dmun-audit dossier order"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_one_error_without_the_list_of_options(arguments, what, command, capsys):
    assert main(arguments) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ERROR: ")
    assert what in printed.err
    assert printed.err.endswith(f"\n  do:   see {command} --help\n")
    assert "usage" not in printed.err
    assert printed.err.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["reprot"], "did you mean 'report'?"),
        (["spotcheck"], "did you mean 'spot-check'?"),
        (["dossier", "chekc"], "did you mean 'check'?"),
        (["atelier", "biuld"], "did you mean 'build'?"),
        (["schema", "dosier"], "did you mean 'dossier'?"),
        (["init", "--policy=relase"], "did you mean 'release'?"),
        (
            ["zzz"],
            "choose from init, dossier, inspect, requests, report, view, compare, export, summary, card, track, reproduce, sign, verify, spot-check, store, schema, atelier",
        ),
    ],
)
def test_a_mistyped_word_gets_the_nearest_one(arguments, suggestion, capsys):
    assert main(arguments) == 4
    assert suggestion in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dmun-audit {version('dmun_audit')}\n"


@pytest.fixture
def package_log():
    """The package's logger, whose level a command may change."""
    logger = logging.getLogger("dmun_audit")
    before = logger.level
    yield logger
    logger.setLevel(before)


@pytest.mark.parametrize("arguments", [["--log-level=debug", "schema"], ["schema", "--log-level=DEBUG"]])
def test_the_log_level_is_taken_before_and_after_the_command(arguments, package_log, caplog):
    assert main(arguments) == 0
    assert package_log.level == logging.DEBUG
    assert "command schema: exit code 0 after" in caplog.text


def test_without_a_log_level_the_log_stays_as_it_is(package_log):
    package_log.setLevel(logging.ERROR)
    main(["schema"])
    assert package_log.level == logging.ERROR


def test_log_messages_go_to_standard_error():
    command = [sys.executable, "-m", "dmun_audit", "schema", "--log-level=info"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    json.loads(done.stdout)
    assert "INFO dmun_audit.cli: command schema: exit code 0" in done.stderr


def test_help_and_version_load_neither_torch_nor_scipy():
    code = """
import sys
from dmun_audit.cli import main
for arguments in (["--help"], ["--version"], ["report", "--help"], ["dossier", "--help"], ["atelier", "check", "--help"]):
    try:
        main(arguments)
    except SystemExit:
        pass
print([name for name in ("torch", "scipy", "diffusers", "transformers", "open_clip") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
