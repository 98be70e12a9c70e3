"""`dmun-audit init`: writes audits/, a conftest.py, a policy file and CI files into the user's own repository. It overwrites nothing."""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.policy import BUILT_IN, built_in_names

TEMPLATE = Path(__file__).parent / "template"
AUDITS = Path("audits")
CONFTEST = Path("conftest.py")
POLICY = Path("audit-policy.toml")
IGNORE = Path(".gitignore")
DEFAULT_POLICY = "standard"
CI_FILES = {
    "github": {".github/workflows/audit.yml": "ci-github.txt", ".github/actions/dmun-audit/action.yml": "github-action.txt"},
    "gitlab": {".gitlab-ci.yml": "ci-gitlab.txt"},
    "jenkins": {"Jenkinsfile": "ci-jenkins.txt"},
}
"""For each CI server, the files that it needs, with their templates."""

IGNORED = ("audit-runs/", ".audit-store/", "audit-run/", "audit-baseline/")
"""What an audit and its CI job write into the repository and nobody should commit: hundreds of images."""


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "init", help="write audits/, conftest.py and a policy file into your repository; what is there already stays as it is"
    )
    parser.add_argument("folder", nargs="?", default=".", help="the repository (default: the current folder)")
    parser.add_argument("--policy", choices=built_in_names(), help=f"policy to start from (default: {DEFAULT_POLICY})")
    parser.add_argument("--ci", choices=tuple(CI_FILES), help="write what this CI server needs too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files that are missing. A file that exists is never written, except .gitignore, which gets more lines.

    Raises UsageError and writes nothing if a file of the CI server, a policy that was asked for, or a conftest.py from elsewhere has
    other content, and if a file cannot be written where it belongs.
    """
    folder = Path(arguments.folder)
    policy = arguments.policy or _policy_in(folder) or DEFAULT_POLICY
    of_audit, of_server = _files_of_audit(policy), _files_of_server(arguments.ci)
    files = of_audit | of_server
    _refuse_places(folder, (*files, IGNORE))
    existing = [path for path in files if (folder / path).exists()]
    other = [path for path in existing if not _is_same(folder / path, files[path])]
    _refuse(folder, existing, other, set(of_server), arguments.policy)
    for path, source in files.items():
        if path not in existing:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
            print(f"wrote {folder / path}" + (f", the policy {policy}" if path == POLICY else ""))
    _say_kept(folder, existing, other)
    if _ignore(folder / IGNORE):
        print(f"{folder / IGNORE} leaves out {', '.join(IGNORED[:-1])} and {IGNORED[-1]}")
    print('\nNow:  pytest audits/ --target="Van Gogh" --model=PATH --base=PATH --policy=audit-policy.toml')
    if of_server:
        print(f'Then: change the lines marked "yours" in {folder / next(iter(of_server))}, and commit.')
    return 0


def _say_kept(folder: Path, existing: list[Path], other: list[Path]) -> None:
    """Name the files that stay as they are. Tests with the content of the templates are counted."""
    same = [path for path in existing if path not in other]
    if tests := [path for path in same if path.parent == AUDITS]:
        print(f"kept {folder / tests[0]}" if len(tests) == 1 else f"kept {len(tests)} files in {folder / AUDITS}")
    for path in same:
        if path not in tests:
            print(f"kept {folder / path}" + (f", the policy {_policy_in(folder)}" if path == POLICY else ""))
    for path in other:
        print(f"kept {folder / path}, which differs from what this version writes")


def _policy_in(folder: Path) -> str | None:
    """The name of the built-in policy that the policy file is a copy of; None if it is no copy."""
    return next((name for name in built_in_names() if _is_same(folder / POLICY, BUILT_IN / f"{name}.toml")), None)


def _files_of_audit(policy: str) -> dict[Path, Path]:
    """Where each file of an audit goes, and the file that it is a copy of."""
    files = {AUDITS / source.name.removesuffix(".txt"): source for source in sorted(TEMPLATE.glob("test_*.py.txt"))}
    return files | {CONFTEST: TEMPLATE / "conftest.py.txt", POLICY: BUILT_IN / f"{policy}.toml"}


def _files_of_server(server: str | None) -> dict[Path, Path]:
    """The same for the files of a CI server; none without one."""
    return {Path(path): TEMPLATE / source for path, source in CI_FILES[server].items()} if server else {}


def _is_same(path: Path, source: Path) -> bool:
    """Whether a file has the content of its source. The ends of lines do not count: git may change them."""
    return path.is_file() and path.read_bytes().splitlines() == source.read_bytes().splitlines()


def _refuse_places(folder: Path, paths: Sequence[Path]) -> None:
    """Raise UsageError for paths in `folder` where no file can be written, and for links that lead out of it."""
    problems = {
        place: problem
        for path in paths
        for place in (*reversed((folder / path).parents), folder / path)
        if (problem := _problem(place, folder, is_file=place == folder / path))
    }
    if problems:
        raise UsageError(
            f"the files of an audit cannot be written to {folder}",
            "; ".join(f"{place} {problem}" for place, problem in problems.items()),
            "move what is there away; nothing was written",
        )


def _problem(place: Path, folder: Path, *, is_file: bool) -> str:
    """What stops a place in `folder`, or above it, from being a file or a folder; empty if nothing does."""
    if place.is_symlink() and not place.exists():
        return "is a link that leads nowhere"
    if place.exists() and not (place.is_file() if is_file else place.is_dir()):
        return "is no file" if is_file else "is no folder"
    if place.is_relative_to(folder) and not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder)):
        return "is a link that leads out of the folder" if place.is_symlink() else ""  # the link above it is named
    return ""


def _refuse(folder: Path, existing: list[Path], other: list[Path], of_server: set[Path], policy: str | None) -> None:
    """Raise UsageError for files with other content that cannot stay as they are.

    In a folder that is set up, tests and policies of the user's own are kept. A folder is set up if it has a test or a conftest.py of ours.
    """
    ours = [path for path in existing if path.parent == AUDITS and path not in other]
    has_options = _has_short_options(folder / CONFTEST)
    in_the_way = [
        str(path) for path in other if path in of_server or (not has_options if path == CONFTEST else not (ours or has_options))
    ]
    if in_the_way:
        raise UsageError(
            f"{folder} already has {', '.join(in_the_way)} with other content",
            "nothing was written",
            "move what is there away, or copy what you need by hand",
        )
    if policy is not None and POLICY in other:
        raise UsageError(
            f"{folder / POLICY} is not the policy {policy}",
            "init overwrites no file; nothing was written",
            "leave --policy out to keep your policy, or move the file away",
        )


def _has_short_options(conftest: Path) -> bool:
    """Whether a conftest.py registers the short options, as ours does: it calls `add_options` with "--"."""
    try:
        tree = ast.parse(conftest.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    registering = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] == "add_options"]
    given = [value for call in registering for value in (*call.args, *(each.value for each in call.keywords))]
    return any(isinstance(value, ast.Constant) and value.value == "--" for value in given)


def _ignore(path: Path) -> bool:
    """Add what git should leave out to a .gitignore. Returns whether it lacked any of it."""
    content = path.read_bytes() if path.exists() else b""
    missing = [line for line in IGNORED if line.encode() not in content.splitlines()]
    if missing:
        start = b"" if not content or content.endswith(b"\n") else b"\n"
        path.write_bytes(content + start + "".join(f"{line}\n" for line in missing).encode())
    return bool(missing)
