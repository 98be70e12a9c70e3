"""Runs the steps of a GitHub job one by one, as GitHub's runner does. What only that runner has is replaced.

A checkout is a copy, a cache is a link to the tests' store, and `gh` is a program that knows a few runs.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import yaml

ACTION = "./.github/actions/dmun-audit"

GH = """#!{python}
import json, os, shutil, sys
runs, given = json.loads(os.environ["ARTIFACTS"]), sys.argv[1:]
assert os.environ["GH_TOKEN"]
if given[:2] == ["run", "list"]:
    expected = "run list --repo OWNER/model --workflow audit.yml --branch main --status success --limit 1 --json databaseId --jq .[].databaseId"
    assert given == expected.split(), given
    print("\\n".join(list(runs)[:1]))
elif given[:2] == ["run", "download"]:
    assert given[3:] == "--repo OWNER/model --name audit --dir audit-baseline".split(), given
    shutil.copytree(runs[given[2]], "audit-baseline") if runs[given[2]] else sys.exit("no valid artifacts found to download")
else:
    sys.exit(str(given))
"""
"""Stands for GitHub's own program. ARTIFACTS has the folder of each run's artifact by the run's number; null if it has expired."""


def environment_of(python, workspace, **more):
    """The variables of a step. pip takes what these tests have: it neither downloads nor builds in isolation."""
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH", "GITHUB_"))}
    return kept | offline | {"PATH": f"{python}{os.pathsep}{os.environ['PATH']}", "HOME": str(workspace)} | more


class GitHubJob:
    """Runs the steps of a job one by one, as GitHub's runner does, and those of its composite action. After a failure only steps with
    `always()` run.

    `artifacts` are the folders of earlier runs by their numbers.
    """

    def __init__(self, workspace, store, python, package, artifacts=None):
        self.workspace, self.store, self.package = workspace, store, package
        self.summary, self.output = workspace.parent / "summary.md", workspace.parent / "output"
        self.summary.write_text("")
        programs = workspace.parent / "programs"
        programs.mkdir()
        (programs / "gh").write_text(GH.format(python=sys.executable))
        (programs / "gh").chmod(0o755)
        self.environment = environment_of(
            f"{programs}{os.pathsep}{python}",
            workspace,
            GITHUB_ACTIONS="true",
            CI="true",
            GITHUB_WORKSPACE=str(workspace),
            GITHUB_REPOSITORY="OWNER/model",
            GITHUB_STEP_SUMMARY=str(self.summary),
            GITHUB_OUTPUT=str(self.output),
            ARTIFACTS=json.dumps({number: folder and str(folder) for number, folder in (artifacts or {}).items()}),
        )
        self.failed = False
        self.uploaded = self.saved = None
        self.results, self.outputs = {}, {}

    def run(self, steps, **inputs):
        """Run the steps of the job. `inputs` are those of the form with which somebody starts the workflow."""
        github = {"token": "t", "run_id": "7", "run_attempt": "1", "event.repository.default_branch": "main"}
        context = {f"github.{name}": value for name, value in github.items()}
        self._run(steps, context | {"inputs.without_baseline": ""} | {f"inputs.{name}": text for name, text in inputs.items()})

    def _run(self, steps, context):
        for step in steps:
            if self._condition(step.get("if", "success()"), context):
                outputs = self._step(step, context)
                context |= {f"steps.{step.get('id')}.outputs.{name}": value for name, value in outputs.items()}
            else:
                self.results[step.get("name", step.get("uses"))] = None

    def _condition(self, text, context):
        """The value of an expression: `always()`, `success()` and `steps.….outputs.… != ''`, joined by `&&`."""
        assert re.fullmatch(r"(always\(\)|success\(\)|steps\.[\w.-]+ != ''|\s|&&)+", text), (
            f"{text} is new: teach it to this test"
        )
        wanted = re.findall(r"(steps\.[\w.-]+) != ''", text)
        return ("always()" in text or not self.failed) and all(context.get(name) for name in wanted)

    def _filled(self, values, context):
        """Values with their expressions replaced. An output that no step has set is empty."""

        def value(match):
            name = match[1]
            assert name in context or name.startswith("steps."), f"{name} is new: teach it to this test"
            return context.get(name, "")

        return {name: re.sub(r"\$\{\{ ([\w.-]+) \}\}", value, str(text)) for name, text in values.items()}

    def _step(self, step, context):
        """Run one step. Returns its outputs."""
        if "run" in step:
            return self._script(step, self._filled(step.get("env", {}), context))
        action, given = step["uses"].partition("@")[0], self._filled(step.get("with", {}), context)
        if action == ACTION:
            return self._composite(given, context)
        if action == "actions/checkout" and "path" in given:
            shutil.copytree(self.package, self.workspace / given["path"])
        elif action == "actions/cache/restore":
            assert given["key"] == "audit-store-audit-7-1"
            assert all(given["key"].startswith(prefix) for prefix in given["restore-keys"].split())
            (self.workspace / given["path"]).symlink_to(self.store)
            return {"cache-primary-key": given["key"]}
        elif action == "actions/cache/save":
            self.saved = given
        elif action == "actions/upload-artifact":
            self.uploaded = self.workspace / given["path"]
        elif action == "actions/setup-python":
            assert (self.workspace / given["cache-dependency-path"]).is_file()
            assert tuple(map(int, given["python-version"].split("."))) >= (3, 11)  # `requires-python` of the package
        else:
            assert action == "actions/checkout", f"{action} is new: teach it to this test"
        return {}

    def _script(self, step, variables):
        assert "${{" not in step["run"]  # a shell would read the text of an input as commands
        script = self.workspace.parent / "step.sh"
        script.write_text(step["run"])
        self.output.write_text("")
        strict = ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
        environment = self.environment | variables
        done = subprocess.run(
            ["bash", *strict, script], cwd=self.workspace, env=environment, capture_output=True, text=True, timeout=900
        )
        self.results[step["name"]] = done
        self.failed |= done.returncode != 0
        return dict(line.split("=", 1) for line in self.output.read_text().splitlines())

    def _composite(self, given, context):
        action = yaml.safe_load((self.workspace / ACTION / "action.yml").read_text())
        assert set(given) <= set(action["inputs"])
        required = {name for name, text in action["inputs"].items() if text.get("required")}
        assert required <= set(given)
        assert all("default" in text for name, text in action["inputs"].items() if name not in required)
        inputs = {name: text.get("default", "") for name, text in action["inputs"].items()} | given
        inner = {name: value for name, value in context.items() if name.startswith("github.")}
        inner |= {f"inputs.{name}": value for name, value in inputs.items()}
        assert action["runs"]["using"] == "composite"
        assert all("shell" in step for step in action["runs"]["steps"] if "run" in step)  # GitHub wants it
        self._run(action["runs"]["steps"], inner)
        self.outputs = self._filled({name: text["value"] for name, text in action["outputs"].items()}, inner)
        return self.outputs
