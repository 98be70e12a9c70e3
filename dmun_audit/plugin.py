"""The pytest plugin: hooks only. Every hook is a few lines that delegate to the one session object (session.py).

Imports the standard library and pytest alone, so that runs without an audit pay nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dmun_audit.pytest_plugin.session import AuditFixture, Session

KEY = pytest.StashKey["Session"]()

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    (
        "target",
        {
            "metavar": "NAME",
            "action": "append",
            "help": "concept that was unlearned; repeat it for several (default: the atelier model's own; else required)",
        },
    ),
    (
        "model",
        {
            "metavar": "REF",
            "help": "candidate: pipeline folder, weights file over --base, hub id, atelier:NAME, module:function that returns a "
            "pipeline, or images:FOLDER of images drawn elsewhere (default: the atelier's)",
        },
    ),
    (
        "base",
        {"metavar": "REF", "help": "model before unlearning (default: ini dmun_base, the model card's base_model, atelier:base)"},
    ),
    (
        "knowledge",
        {
            "metavar": "DOSSIER",
            "action": "append",
            "help": "dossier file, pack, or a language model to ask once: URL#MODEL or transformers:PATH-OR-ID; repeat it for "
            "several targets (default: the target's pack)",
        },
    ),
    ("policy", {"metavar": "NAME|FILE", "help": "smoke, standard, paper, release, or a TOML file (default: standard)"}),
    (
        "judge",
        {
            "metavar": "REF",
            "help": "local-dir:PATH, open_clip:ARCH/TAG, hf-hub:ID (default: atelier:judge there, else CLIP ViT-B/32)",
        },
    ),
    (
        "detector",
        {
            "metavar": "REF",
            "help": "who says whether the target is in an image, in the judge's place: classifier:MODEL#LABEL, objects:MODEL#TEXT, "
            "references:MODEL#FOLDER, faces:NETWORK.onnx#FOLDER, vlm:LANGUAGE-MODEL, or another CLIP (default: the judge)",
        },
    ),
    (
        "second-judge",
        {"metavar": "REF", "help": "a further judge of the same images, of any kind that --detector takes (default: none)"},
    ),
    (
        "audit-dir",
        {
            "metavar": "DIR",
            "help": "run folder, of several targets a folder for each in it (default: audit-runs/<target>-<candidate>-<hash>)",
        },
    ),
    ("store", {"metavar": "DIR", "help": "store of images and embeddings (default: in the user's cache folder)"}),
    ("allow-sensitive", {"action": "store_true", "help": "audit an unsafe target: pictures of it are drawn and kept"}),
    ("trust-remote-code", {"action": "store_true", "help": "run Python code that comes with a model (default: never)"}),
    ("audit-seed", {"metavar": "N", "type": int, "help": "seed of all image seeds (default: 0, or as the policy draws it)"}),
]


def add_options(parser: pytest.Parser, prefix: str) -> None:
    """Register the options under `prefix`: "--dmun-" here, "--" in a conftest that wants the short spellings."""
    group = parser.getgroup("dmun_audit", "audit of an unlearned text-to-image model")
    for name, settings in OPTIONS:
        group.addoption(prefix + name, dest="dmun_" + name.replace("-", "_"), default=None, **settings)


def pytest_addoption(parser: pytest.Parser) -> None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_addoption"""
    add_options(parser, "--dmun-")
    parser.addini("dmun_base", "model before unlearning, where --base is not given", default=None)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Resolve the audit before collection and before any worker starts, where tests ask for it."""
    from dmun_audit.pytest_plugin.session import Session

    ours = session.config.stash[KEY] = Session(session)
    session.config.pluginmanager.register(Reports(ours), "dmun_audit.reports")
    ours.start()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is audited."""
    return config.stash[KEY].header() if KEY in config.stash else []


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the resolved audit to a worker of pytest-xdist."""
    if KEY in node.config.stash:
        node.workerinput["dmun_audit"] = node.config.stash[KEY].for_worker()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Learn from a worker which cases are to run."""
    node.config.stash[KEY].collected(ids)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every case that a fixture stands for."""
    ours = metafunc.config.stash[KEY]
    if "audit" not in metafunc.fixturenames and not ours.tests:
        return
    for fixture in ours.case_fixtures():
        if fixture in metafunc.fixturenames and not _taken(metafunc, fixture):
            named = ours.cases(fixture)
            metafunc.parametrize(fixture, [case for _, case in named], ids=[name for name, _ in named])


def _taken(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether `name` already means something of the user's own: a fixture, or a parameter of the test."""
    if metafunc.definition._fixtureinfo.name2fixturedefs.get(name):
        return True
    marked = (mark.args[0] if mark.args else mark.kwargs["argnames"] for mark in metafunc.definition.iter_markers("parametrize"))
    return any(name in ([part.strip() for part in names.split(",")] if isinstance(names, str) else names) for names in marked)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put cases into the order of the plan, and note which are left once everybody has deselected."""
    config.stash[KEY].arrange(items)
    config.stash[KEY].collected([item.nodeid for item in items])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the evidence of a test to its report: that survives a worker's crash, and crosses to the controller."""
    report = yield
    item.config.stash[KEY].attach(report)
    return report


class Reports:
    """The hooks that are not told the configuration: an object that knows its session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down what a test saw; stop the run where the models could not be loaded."""
        self.session.receive(report)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note why the run was interrupted: -x under pytest-xdist comes this way too."""
        self.session.stopped_by = str(excinfo.value)


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> Any:
    """Say in the list of tests (-v) what a passed case came to, in the place of PASSED."""
    words = getattr(report, "dmun_audit_words", "")
    return ("passed", ".", (words, {"green": True})) if words else None


def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Stop before the next test once the audit cannot go on."""
    if item.config.stash[KEY].fatal:
        item.session.shouldstop = "the audit cannot go on"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Conclude the audit, before other plugins write their reports, and set the exit code."""
    if KEY in session.config.stash:
        session.exitstatus = session.config.stash[KEY].finish(session, int(exitstatus))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """End with the verdict and the path of the report."""
    if KEY in config.stash:
        for line in config.stash[KEY].summary():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def audit(pytestconfig: pytest.Config) -> AuditFixture:
    """The audit: `audit.check(case)` runs a case and fails the test unless it holds."""
    return pytestconfig.stash[KEY].fixture()
