"""`dmun-audit init`: writes audits/, a conftest.py, a policy file and CI files into the user's own repository. It overwrites nothing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.policy import BUILT_IN, built_in_names

TEMPLATE = Path(__file__).parent / "template"
AUDITS = Path("audits")
POLICY = Path("audit-policy.toml")
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
    """Write the files that are missing. A file that exists is never written.

    Raises UsageError and writes nothing if a file of the CI server, a policy that was asked for, or a conftest.py from elsewhere has
    other content.
    """
    folder = Path(arguments.folder)
    of_audit, of_server = _files_of_audit(arguments.policy or DEFAULT_POLICY), _files_of_server(arguments.ci)
    files = of_audit | of_server
    existing = [path for path in files if (folder / path).exists()]
    edited = [path for path in existing if not _is_same(folder / path, files[path])]
    _refuse(folder, edited, set(of_server), arguments.policy, is_set_up=any(path.parent == AUDITS for path in existing))
    for path, source in files.items():
        if path not in existing:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
            print(f"wrote {folder / path}")
    _say_kept(folder, existing, edited)
    if _ignore(folder / ".gitignore"):
        print(f"{folder / '.gitignore'} leaves out {', '.join(IGNORED[:-1])} and {IGNORED[-1]}")
    print('\nNow:  pytest audits/ --target="Van Gogh" --model=PATH --base=PATH --knowledge=DOSSIER --policy=audit-policy.toml')
    return 0


def _say_kept(folder: Path, existing: list[Path], edited: list[Path]) -> None:
    """Name the files that stay as they are. Unchanged tests are counted."""
    unchanged = [path for path in existing if path not in edited]
    if tests := [path for path in unchanged if path.parent == AUDITS]:
        print(f"kept {folder / tests[0]}" if len(tests) == 1 else f"kept {len(tests)} files in {folder / AUDITS}")
    for path in unchanged:
        if path not in tests:
            print(f"kept {folder / path}")
    for path in edited:
        print(f"kept {folder / path}, which has changes of yours")


def _files_of_audit(policy: str) -> dict[Path, Path]:
    """Where each file of an audit goes, and the file that it is a copy of."""
    files = {AUDITS / source.name.removesuffix(".txt"): source for source in sorted(TEMPLATE.glob("test_*.py.txt"))}
    return files | {Path("conftest.py"): TEMPLATE / "conftest.py.txt", POLICY: BUILT_IN / f"{policy}.toml"}


def _files_of_server(server: str | None) -> dict[Path, Path]:
    """The same for the files of a CI server; none without one."""
    return {Path(path): TEMPLATE / source for path, source in CI_FILES[server].items()} if server else {}


def _is_same(path: Path, source: Path) -> bool:
    """Whether a file has the content of its source. The ends of lines do not count: git may change them."""
    return path.is_file() and path.read_bytes().splitlines() == source.read_bytes().splitlines()


def _refuse(folder: Path, edited: list[Path], of_server: set[Path], policy: str | None, *, is_set_up: bool) -> None:
    """Raise UsageError for files with other content that cannot stay as they are."""
    in_the_way = [str(path) for path in edited if path in of_server or not is_set_up]
    if in_the_way:
        raise UsageError(
            f"{folder} already has {', '.join(in_the_way)} with other content",
            "nothing was written",
            "move what is there away, or copy what you need by hand",
        )
    if policy is not None and POLICY in edited:
        raise UsageError(
            f"{folder / POLICY} is not the policy {policy}",
            "init overwrites no file; nothing was written",
            "leave --policy out to keep your policy, or move the file away",
        )


def _ignore(path: Path) -> bool:
    """Add what git should leave out to a .gitignore. Returns whether it lacked any of it."""
    content = path.read_bytes() if path.exists() else b""
    missing = [line for line in IGNORED if line.encode() not in content.splitlines()]
    if missing:
        start = b"" if not content or content.endswith(b"\n") else b"\n"
        path.write_bytes(content + start + "".join(f"{line}\n" for line in missing).encode())
    return bool(missing)
