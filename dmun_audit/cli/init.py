"""`dmun-audit init`: writes audits/, a conftest.py and a policy file into the user's own repository."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.policy import BUILT_IN, built_in_names

TEMPLATE = Path(__file__).parent / "template"
CI_FILES = {"github": Path(".github/workflows/audit.yml"), "gitlab": Path(".gitlab-ci.yml"), "jenkins": Path("Jenkinsfile")}
IGNORED = ("audit-runs/", ".audit-store/")
"""What an audit writes into the repository and nobody should commit: hundreds of images."""


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("init", help="write audits/, conftest.py and a policy file into your repository")
    parser.add_argument("folder", nargs="?", default=".", help="the repository (default: the current folder)")
    parser.add_argument("--policy", default="standard", choices=built_in_names(), help="policy to start from (default: standard)")
    parser.add_argument("--ci", choices=tuple(CI_FILES), help="write a file for this CI server too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files. If one of them exists already, raise UsageError and write nothing."""
    folder = Path(arguments.folder)
    files = {Path("audits") / source.name.removesuffix(".txt"): source for source in sorted(TEMPLATE.glob("test_*.py.txt"))}
    files |= {
        Path("conftest.py"): TEMPLATE / "conftest.py.txt",
        Path("audit-policy.toml"): BUILT_IN / f"{arguments.policy}.toml",
    }
    if arguments.ci:
        files[CI_FILES[arguments.ci]] = TEMPLATE / f"ci-{arguments.ci}.txt"
    existing = [str(path) for path in files if (folder / path).exists()]
    if existing:
        raise UsageError(
            f"{folder} already has {', '.join(existing)}",
            "nothing was written",
            "move them away, or copy what you need by hand",
        )
    for path, source in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        print(f"wrote {folder / path}")
    if _ignore(folder / ".gitignore"):
        print(f"{folder / '.gitignore'} leaves out {' and '.join(IGNORED)}")
    print('\nNow:  pytest audits/ --target="Van Gogh" --model=PATH --base=PATH --knowledge=DOSSIER --policy=audit-policy.toml')
    return 0


def _ignore(path: Path) -> bool:
    """Add what git should leave out to a .gitignore. Returns whether it lacked any of it."""
    content = path.read_bytes() if path.exists() else b""
    missing = [line for line in IGNORED if line.encode() not in content.splitlines()]
    if missing:
        start = b"" if not content or content.endswith(b"\n") else b"\n"
        path.write_bytes(content + start + "".join(f"{line}\n" for line in missing).encode())
    return bool(missing)
