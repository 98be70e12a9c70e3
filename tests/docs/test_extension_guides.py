"""The guides on extensions, followed word by word: their files, their commands, and the output that they show.

Nothing comes from the network: `pip install -e .` becomes the metadata that it would write.
"""

import json
import os
import re
import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import processes
import pytest

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
NAMES = ("writing-a-detector", "writing-a-metric", "writing-a-claim-group")
BLOCK = re.compile(r"(?:^`(?P<file>[\w./-]+)`\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".toml": "toml"}


@dataclass(frozen=True)
class Step:
    """A command of a guide, with the lines of output that the guide shows below it."""

    command: str
    shown: tuple[str, ...] = ()

    @property
    def audits(self):
        """Whether it draws images."""
        return self.command.startswith("pytest audits/")


@dataclass(frozen=True)
class Guide:
    """The files and commands of a page, in its order."""

    files: dict[str, str]
    steps: list[Step]


def read_guide(name):
    """The files and steps of a guide. Each of its code blocks is a file, commands, or the output of the command before it."""
    files, steps = {}, []
    for block in BLOCK.finditer((GUIDES / f"{name}.md").read_text("utf-8")):
        lines = block["text"].splitlines()
        if block["file"]:
            assert block["kind"] == LANGUAGES[Path(block["file"]).suffix], block["file"]
            files[block["file"]] = block["text"]
        elif block["kind"] == "bash":
            steps += [Step(line) for line in lines]
        else:
            assert block["kind"] == "text", block[0]
            steps[-1] = Step(steps[-1].command, tuple(lines))
    return Guide(files, steps)


@pytest.fixture(params=NAMES)
def guide(request):
    """One guide."""
    return read_guide(request.param)


@pytest.fixture
def follow(tmp_path, store):
    """A function that follows steps in a folder that holds the files of a guide, and returns the output of each."""

    def follow(guide, steps):
        for name, text in guide.files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_text(text, "utf-8")
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}
        outputs = []
        for step in steps:
            if step.command == "pip install -e .":
                install_editable(tmp_path)
                continue
            words = [*as_module(shlex.split(step.command)), *([f"--store={store}"] if step.audits else [])]
            done = processes.run(words, cwd=tmp_path, env=environment)
            outputs.append((step, done))
        return outputs

    return follow


def as_module(words):
    """A command as a module of this interpreter."""
    heads = {"pytest": ["-m", "pytest"], "dmun-audit": ["-m", "dmun_audit.cli"], "python": []}
    return [sys.executable, *heads[words[0]], *words[1:]]


def install_editable(folder):
    """Write what `pip install -e` writes for a package of one module: its metadata, with its entry points."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    (module,) = project["tool"]["setuptools"]["py-modules"]
    assert (folder / f"{module}.py").is_file()
    name, version = project["project"]["name"], project["project"]["version"]
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, entries in project["project"]["entry-points"].items():
        lines += [f"[{group}]", *(f"{entry} = {target}" for entry, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def missing(shown, output):
    """The runs of shown lines that are not in an output, whatever the width of its lines."""
    flat = " ".join(output.split())
    sentences = [" ".join(line.split()) for line in joined(shown)]
    return [sentence for sentence in sentences if sentence not in flat]


def joined(lines):
    """Lines with their continuations: a line that is indented by four or more goes on."""
    whole = []
    for line in lines:
        if whole and line.startswith("    "):
            whole[-1] += " " + line
        else:
            whole.append(line)
    return whole


def test_each_guide_has_a_package_a_test_of_it_and_an_audit(guide):
    assert any(name.startswith("tests/test_") for name in guide.files)
    assert "pip install -e ." in [step.command for step in guide.steps]
    assert any(step.audits for step in guide.steps)
    assert any(step.shown for step in guide.steps)


def test_the_tests_of_each_guide_pass(guide, follow):
    steps = [step for step in guide.steps if not step.command.startswith(("dmun-audit", "python"))]
    (step, done), *_ = follow(guide, [step for step in steps if not step.audits])
    assert step.command == "pytest tests/"
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b([3-9]|\d\d) passed", done.stdout)


def test_the_tests_of_a_guide_need_the_installed_package(guide, follow):
    ((_, done),) = follow(guide, [Step("pytest tests/")])
    assert done.returncode != 0


def runs_of(folder):
    """The run folders of the audits in a folder, the newest last."""
    return sorted((folder / "audit-runs").glob("van-gogh-*"), key=lambda run: run.stat().st_mtime_ns)


def cases_of(run):
    """The records of a run."""
    return [json.loads(line) for line in (run / "evidence.jsonl").read_text("utf-8").splitlines()]


def check_the_detector(runs):
    assert len(runs) == 3
    for run in runs:
        assert json.loads((run / "manifest.json").read_text("utf-8"))["judge"]["detector"]["reference"] == "strokes:"
        scores = {image["target_score"] for case in cases_of(run) for image in case["images"] if "target_score" in image}
        assert len(scores) > 50


def check_the_metric(runs):
    (run,) = runs
    measured = [case for case in cases_of(run) if "colourfulness.base" in case["measures"]]
    assert measured
    assert {case["group"] for case in measured} == {"retention"}
    page = (run / "report.html").read_text("utf-8")
    assert "Further metrics" in page
    assert page.count("colourfulness, candidate") == len(measured)


def check_the_claim_group(runs):
    pooled = [case for run in runs for case in cases_of(run) if case["group"] == "customers" and case["pooled"]]
    assert [case["verdict"] for case in pooled] == ["PASS", "FAIL"]
    assert all("Customers typed these prompts." in (run / "report.html").read_text("utf-8") for run in runs)


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("writing-a-detector", check_the_detector),
        ("writing-a-metric", check_the_metric),
        ("writing-a-claim-group", check_the_claim_group),
    ],
)
def test_each_guide_does_what_it_says(name, check, follow, tmp_path):
    guide = read_guide(name)
    for step, done in follow(guide, guide.steps):
        said = f"{step.command}\n{done.stdout}{done.stderr}"
        assert missing(step.shown, done.stdout) == [], said
        assert step.audits or done.returncode == 0, said
    check(runs_of(tmp_path))
