"""What a wheel must hold: every file that the package reads at run time."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_file_of_the_package_is_shipped():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["dmun_audit"]
    shipped = {path for pattern in patterns for path in (ROOT / "dmun_audit").glob(pattern) if path.is_file()}
    ignored = {".py", ".pyc"}
    held = {path for path in (ROOT / "dmun_audit").rglob("*") if path.is_file() and path.suffix not in ignored}
    assert held - shipped == set()


def test_the_readme_installs_with_the_versions_that_are_known_to_work():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    extras = project["project"]["optional-dependencies"]
    assert {line.partition(">=")[0] for line in extras["local"]} <= pinned & {line.partition(">=")[0] for line in extras["test"]}
