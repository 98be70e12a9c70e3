"""The documentation says what the code says: options, commands, policy keys, verdicts, links, examples."""

import argparse
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmun_audit.cli import build_parser
from dmun_audit.plugin import OPTIONS
from dmun_audit.policy import BUILT_IN, load_policy
from dmun_audit.verdict.vocabulary import AuditVerdict, Verdict

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FILES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
PAGES = [*(ROOT / file for file in FILES), *sorted(DOCS.rglob("*.md"))]
REFERENCE = DOCS / "reference"
MOST_WORDS_OF_THE_README = 800


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# What the code says, the reference says.


def test_generated_parts_are_those_of_the_code():
    ended = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_option_of_pytest_is_in_the_reference():
    text = (REFERENCE / "pytest-options.md").read_text("utf-8")
    assert [name for name, _ in OPTIONS if f"| `--{name}" not in text] == []


def commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command.prog
                yield from commands(command)


def test_every_command_is_in_the_reference():
    headings = re.findall(r"^#+ (dmun-audit .+)$", (REFERENCE / "command-line.md").read_text("utf-8"), re.MULTILINE)
    assert headings == list(commands(build_parser()))


SECTIONS = [key for key, value in vars(load_policy("standard")).items() if hasattr(value, "__dict__")]


def test_the_default_policy_has_every_section():
    headings = re.findall(r"^### \[(\w+)\]$", (REFERENCE / "policy.md").read_text("utf-8"), re.MULTILINE)
    assert len(SECTIONS) >= 12
    assert set(headings) == set(SECTIONS)


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_every_key_of_a_policy_is_in_the_reference(section):
    text = (REFERENCE / "policy.md").read_text("utf-8")
    policy = load_policy("standard")
    start = text.index(f"### [{section}]" if section else "### Top level")
    table = text[start : text.index("\n### ", start + 1)]
    keys = [
        key
        for key in vars(getattr(policy, section) if section else policy)
        if not hasattr(getattr(policy, key, None), "__dict__")
    ]
    keys = [key for key in keys if key != "waivers" and not key.startswith("_")]
    assert keys
    assert [key for key in keys if f"| `{key}` |" not in table] == []


def test_every_key_that_a_built_in_policy_mentions_is_in_the_reference():
    text = (REFERENCE / "policy.md").read_text("utf-8")
    for file in BUILT_IN.glob("*.toml"):
        keys = re.findall(r"^(?:# )?([a-z_]+) = ", file.read_text("utf-8"), re.MULTILINE)
        assert [key for key in keys if f"`{key}`" not in text] == []


def rows(page: Path, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without the table's own head."""
    text = page.read_text("utf-8")
    lines = text[text.index(f"\n{heading}\n") :].splitlines()
    table = [line for line in lines if line.startswith("|")]
    end = next((place for place, line in enumerate(lines) if line.startswith("#") and place > 1), len(lines))
    table = [line for line in lines[:end] if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_verdicts_of_an_audit_are_those_of_the_code_in_the_same_order():
    table = rows(REFERENCE / "verdicts.md", "## The verdict on an audit")
    assert [(verdict, int(code)) for verdict, code, _ in table] == [
        (verdict.value, verdict.exit_code) for verdict in AuditVerdict
    ]


def test_the_verdicts_of_a_case_are_those_of_the_code():
    table = rows(REFERENCE / "verdicts.md", "## The verdict on a case or a claim")
    assert [verdict for verdict, *_ in table] == [verdict.value for verdict in Verdict]
    assert {verdict for verdict, outcome, _ in table if outcome == "failed"} == {v.value for v in Verdict if v.is_failure}


def test_the_readme_names_the_same_verdicts_and_exit_codes():
    table = rows(ROOT / "README.md", "## Verdicts")
    codes = {verdict: int(code) for verdict, code, _ in table if verdict in AuditVerdict.__members__}
    assert codes == {verdict.value: verdict.exit_code for verdict in AuditVerdict}


# Links.

FENCE = re.compile(r"^( *)(`{3,})[^`\n]*\n.*?^\1\2`*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """A page without its code blocks and inline code."""
    return re.sub(r"`[^`\n]+`", lambda code: re.sub(r"[\[\]()]", "", code[0]), FENCE.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and the documentation site make them."""
    slugs: list[str] = []
    for heading in re.findall(r"^#{1,4} (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        again = slugs.count(slug)
        slugs.append(slug)
        if again:
            slugs.append(f"{slug}-{again}")
    return set(slugs)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_within_the_repository_leads_somewhere(page):
    broken = []
    for target in LINK.findall(prose(page)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = Path(os.path.normpath(page.parent / path)) if path else page
        if not file.is_relative_to(ROOT) or not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_is_listed_on_the_site():
    listed = set(re.findall(r"^(?:[\w ]+ <)?([a-z/-]+)>?$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE))
    assert {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")} == listed | {"index"}


# Examples.

PYTHON = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [(page, textwrap.dedent(block)) for page in PAGES for _, block in PYTHON.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "code"), EXAMPLES, ids=[f"{name_of(page)}-{place}" for place, (page, _) in enumerate(EXAMPLES)])
def test_every_python_example_compiles(page, code):
    compile(code, name_of(page), "exec")


# The landing page.


def test_the_readme_is_a_landing_page():
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= MOST_WORDS_OF_THE_README


def test_the_readme_holds_the_two_commands():
    text = (ROOT / "README.md").read_text("utf-8")
    commands_of = {name: re.findall(rf"<!-- {name} command -->\n```bash\n(.+)\n```\n", text) for name in ("audit", "test")}
    assert [len(found) for found in commands_of.values()] == [1, 1]
    assert commands_of["audit"][0].endswith("pytest audits/")
    assert "'.[test]'" in commands_of["test"][0]
