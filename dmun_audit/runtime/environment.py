"""Where and with what an audit runs: the command, the user, the host, the CI job, the packages and the source code."""

from __future__ import annotations

import getpass
import importlib.metadata
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dmun_audit import __version__
from dmun_audit.evidence.schema import JsonObject

PACKAGES = ("dmun_audit", "pytest", "pytest-xdist", "torch", "diffusers", "transformers", "open_clip_torch", "scipy", "numpy")

CI_JOBS: Mapping[str, tuple[str, ...]] = {
    "GITHUB_ACTIONS": ("GITHUB_REPOSITORY", "GITHUB_WORKFLOW", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB", "GITHUB_SHA"),
    "GITLAB_CI": ("CI_PROJECT_PATH", "CI_PIPELINE_ID", "CI_JOB_ID", "CI_JOB_URL", "CI_COMMIT_SHA"),
    "JENKINS_URL": ("JENKINS_URL", "JOB_NAME", "BUILD_NUMBER", "BUILD_URL", "GIT_COMMIT"),
    "CI": ("CI_NAME", "BUILD_ID", "BUILD_NUMBER", "BUILD_URL", "CI_COMMIT_SHA"),
}
"""For each CI server: the variable that tells it, and the variables that name its job. The first server that matches counts."""


def describe_command() -> JsonObject:
    """The command line, its folder, the user, the host and the CI job if there is one."""
    facts: JsonObject = {
        "line": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "folder": os.getcwd(),
        "host": socket.gethostname(),
    }
    try:
        facts["user"] = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may have no entry for its user
        facts["user"] = f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    if job := ci_job(os.environ):
        facts["ci_job"] = job
    return facts


def ci_job(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of the environment that name the CI job; empty outside of CI. None of them is a secret."""
    for server, names in CI_JOBS.items():
        if variables.get(server):
            return {name: variables[name] for name in names if variables.get(name)}
    return {}


def package_list() -> list[str]:
    """All installed packages as `name==version`, in order."""
    facts = [each.metadata for each in importlib.metadata.distributions()]  # a file is read whenever its metadata are asked for
    found = {(each["Name"] or "").lower(): f"{each['Name']}=={each['Version']}" for each in facts}
    return [package for name, package in sorted(found.items()) if name]


def versions() -> JsonObject:
    """The versions of Python and of the packages that decide results; None for a package that is not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES} | {"dmun_audit": __version__}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def working_tree(folder: Path) -> JsonObject | None:
    """Commit and dirty flag of the working tree at `folder`; None outside of one."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}
