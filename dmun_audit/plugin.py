"""The pytest plugin. Every hook calls the session object (`pytest_plugin.session`).

It imports only the standard library and pytest, so that runs without an audit stay quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dmun_audit.pytest_plugin.audit_fixture import AuditFixture
    from dmun_audit.pytest_plugin.session import Session

NO_CASE = "no case"
"""The parameter of a test whose claim group the policy leaves out. The test is removed after collection."""

UNDECIDED = "inconclusive"
"""What pytest's output calls a test whose case is undecided."""

MOST_UNDECIDED = 10
"""Undecided cases that the last lines name one by one."""

KEY = pytest.StashKey["Session"]()

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    (
        "target",
        {
            "metavar": "NAME",
            "action": "append",
            "help": "concept that was unlearned; repeat the option for several concepts (default: the target of the atelier model; "
            "required for other models)",
        },
    ),
    (
        "model",
        {
            "metavar": "REF",
            "action": "append",
            "help": "candidate: pipeline folder, weights file over --base, hub id, atelier:NAME, module:function that returns a "
            "pipeline, or images:FOLDER of images rendered elsewhere; repeat the option to audit every model for every target (default: a model "
            "of the atelier)",
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
            "help": "dossier file, pack, or language model that makes the dossier once (URL#MODEL or transformers:PATH-OR-ID); "
            "repeat the option for several targets (default: the target's pack)",
        },
    ),
    (
        "policy",
        {"metavar": "NAME|FILE", "help": "smoke, standard, paper, release, open-weights, or a TOML file (default: standard)"},
    ),
    (
        "judge",
        {
            "metavar": "REF",
            "help": "CLIP model that judges the images: local-dir:PATH, open_clip:ARCH/TAG or hf-hub:ID (default: atelier:judge for "
            "models of the atelier, else CLIP ViT-B/32)",
        },
    ),
    (
        "detector",
        {
            "metavar": "REF",
            "help": "detector of the target, instead of the judge: classifier:MODEL#LABEL, objects:MODEL#TEXT, "
            "references:MODEL#FOLDER, faces:NETWORK.onnx#FOLDER, vlm:LANGUAGE-MODEL, nudenet#LABELS@THRESHOLD, opennsfw#@THRESHOLD, q16:CLIP#PROMPTS.npy, or another CLIP model (default: the judge)",
        },
    ),
    (
        "second-judge",
        {"metavar": "REF", "help": "second detector for the same images, of any kind that --detector accepts (default: none)"},
    ),
    (
        "composition-judge",
        {
            "metavar": "REF",
            "help": "judge that is asked whether an image shows its composition prompt, such as vlm:LANGUAGE-MODEL (default: the CLIP "
            "judge, by retrieval)",
        },
    ),
    (
        "metric",
        {
            "metavar": "REF",
            "action": "append",
            "help": "further measure of nearby concepts, reported without a verdict: frechet:MODEL#FOLDER, pickscore:MODEL, hps:FILE#ARCH, "
            "aesthetic:HEAD#CLIP, vqascore:MODEL, csd:FILE, dreamsim:FOLDER#VARIANT, labels:MODEL; repeat the option for several (default: none)",
        },
    ),
    (
        "unrelated",
        {
            "metavar": "FILE",
            "help": "your own plain prompts far from the target, one in each line (default: a list that ships with the package)",
        },
    ),
    (
        "probe-control",
        {
            "metavar": "REF",
            "help": "model that never knew the target, as the control of attacks with the weights in hand: a pipeline folder or hub id "
            "(default: the atelier's; for other models the candidate itself, where an attack allows it)",
        },
    ),
    (
        "probe-adapter",
        {
            "metavar": "FILE",
            "help": "LoRA that an attack merges into the models, such as a popular one (default: none; the attack is then not tried)",
        },
    ),
    (
        "regress",
        {
            "metavar": "RUN",
            "action": "append",
            "help": "run folder of an earlier audit: what its attacks found is tried on this candidate; repeat the option for several runs "
            "(default: none)",
        },
    ),
    (
        "baseline",
        {
            "metavar": "RUN",
            "action": "append",
            "help": "run folder of an earlier audit: this candidate fails where it is worse than the earlier one beyond chance, on the same "
            "prompts and seeds; with several targets, repeat the option (default: none)",
        },
    ),
    (
        "max-probe-minutes",
        {
            "metavar": "MINUTES",
            "type": float,
            "help": "no such attack begins a further row of prompts after this time in a process; the same command goes on from there (default: no limit)",
        },
    ),
    (
        "audit-dir",
        {
            "metavar": "DIR",
            "help": "run folder; with several models or targets, each audit gets a folder in it (default: "
            "audit-runs/<target>-<candidate>-<hash>)",
        },
    ),
    (
        "campaign",
        {
            "metavar": "FILE",
            "help": "TOML file with these options and several models or targets; an option on the command line replaces the file's "
            "(default: none)",
        },
    ),
    (
        "campaign-dir",
        {
            "metavar": "DIR",
            "help": "folder for the table of several models, campaign.md and campaign.json (default: audit-runs/campaign-<hash>)",
        },
    ),
    (
        "store",
        {
            "metavar": "DIR",
            "help": "store of images and embeddings: a folder, or a URL such as s3://BUCKET/PREFIX (default: in the user's cache folder)",
        },
    ),
    (
        "engine",
        {
            "metavar": "ENGINE",
            "help": "where images are rendered: local, ray (the Ray cluster at hand, or one on this machine for this audit), or "
            "ray://HOST:PORT (default: local)",
        },
    ),
    (
        "offload",
        {
            "metavar": "WAY",
            "help": "for cards that hold no whole model: model (one network at a time on the GPU) or sequential (one layer at a time, "
            "much slower) (default: whole models on the GPU)",
        },
    ),
    (
        "profile",
        {
            "metavar": "PROFILE",
            "help": "fidelity draws as the policy says; fast draws with half of the steps and a quicker solver, and is no release evidence "
            "(default: fidelity)",
        },
    ),
    (
        "gpu-price",
        {
            "metavar": "PRICE",
            "help": "price of an hour: the estimates of time say the cost too, and the last lines what this run cost (default: none)",
        },
    ),
    (
        "track",
        {
            "metavar": "TRACKER",
            "help": "log the finished audit to mlflow or wandb; the tool's own environment variables say where. A failure of the tracker "
            "changes neither verdict nor exit code (default: not logged)",
        },
    ),
    ("keep-going", {"action": "store_true", "help": "draw and judge all cases although a control failed (default: stop there)"}),
    ("no-images", {"action": "store_true", "help": "leave pictures out of report.html; the run folder keeps them"}),
    ("allow-sensitive", {"action": "store_true", "help": "audit an unsafe target; images of it are rendered and kept"}),
    ("trust-remote-code", {"action": "store_true", "help": "run Python code that comes with a model (default: never)"}),
    (
        "audit-seed",
        {
            "metavar": "N",
            "type": int,
            "help": "seed from which all image seeds derive; reports say that it was chosen (default: 0, or as the policy says)",
        },
    ),
    (
        "nonce",
        {
            "metavar": "TEXT",
            "help": "text from outside that nobody could know before the candidate was final, such as a public beacon's value: drawn "
            "seeds and fresh prompts follow from it too (default: none)",
        },
    ),
]


def add_options(parser: pytest.Parser, prefix: str) -> None:
    """Register the options with `prefix`: "--dmun-" in this plugin, "--" in a conftest for the short spellings.

    --help shows each option once: the short spelling, if there is one.
    """
    group = parser.getgroup("dmun_audit", "audit of an unlearned text-to-image model (each option also as --dmun-OPTION)")
    if prefix == "--":
        parser.extra_info.pop("dmun_audit", None)  # the short options are there: no hint is needed
        for option in group.options:
            option.attrs()["help"] = argparse.SUPPRESS
    for name, settings in OPTIONS:
        group.addoption(prefix + name, dest="dmun_" + name.replace("-", "_"), default=None, **settings)


SHORT_OPTIONS = "--model, --target and the other short options need the conftest.py that `dmun-audit init` writes; without it, write --dmun-model and so on"


def _has_short_options(arguments: Sequence[str]) -> bool:
    return any(argument.partition("=")[0] in {f"--{name}" for name, _ in OPTIONS} for argument in arguments)


def pytest_addoption(parser: pytest.Parser) -> None:
    """https://docs.pytest.org/en/stable/reference/reference.html#pytest.hookspec.pytest_addoption"""
    add_options(parser, "--dmun-")
    if _has_short_options(sys.argv[1:]):  # pytest shows this beside "unrecognized arguments"
        parser.extra_info["dmun_audit"] = SHORT_OPTIONS
    parser.addini("dmun_base", "model before unlearning, if --base is not given", default=None)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Resolve the audits before collection and before any worker starts, if tests use them."""
    from dmun_audit.pytest_plugin.session import Session

    audit_session = session.config.stash[KEY] = Session(session)
    session.config.pluginmanager.register(Reports(audit_session), "dmun_audit.reports")
    audit_session.start()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The header of the audits."""
    return config.stash[KEY].header() if KEY in config.stash else []


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """The number of workers that `-n auto` starts, if tests use an audit."""
    from dmun_audit.pytest_plugin.discovery import asks_for_audit

    if not asks_for_audit(config.args, config.invocation_params.dir, config.getini("python_files")):
        return None
    from dmun_audit.pytest_plugin.workers import number_of_workers

    return number_of_workers(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Any) -> None:
    """Give each worker of an audit a GPU of its own."""
    if config.stash[KEY].tests:
        from dmun_audit.pytest_plugin.workers import share_gpus

        share_gpus(config, specs)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send the resolved audits to a worker of pytest-xdist."""
    if KEY in node.config.stash:
        node.workerinput.update(node.config.stash[KEY].for_worker())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Note the tests that a worker collected."""
    node.config.stash[KEY].collected(ids)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for every case of a fixture."""
    audit_session = metafunc.config.stash[KEY]
    if "audit" not in metafunc.fixturenames and not audit_session.tests:
        return
    for fixture in audit_session.case_fixtures():
        if fixture in metafunc.fixturenames and not _is_defined(metafunc, fixture):
            cases = audit_session.cases(fixture)
            names = [name for name, _ in cases] or [NO_CASE]
            metafunc.parametrize(fixture, [case for _, case in cases] or [NO_CASE], ids=names)


def _is_defined(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether the user defines `name`, as a fixture or as a parameter of the test."""
    if metafunc.definition._fixtureinfo.name2fixturedefs.get(name):
        return True
    marked = (mark.args[0] if mark.args else mark.kwargs["argnames"] for mark in metafunc.definition.iter_markers("parametrize"))
    return any(name in ([part.strip() for part in names.split(",")] if isinstance(names, str) else names) for names in marked)


def _has_no_case(item: pytest.Item) -> bool:
    """Whether a test waits for a case of a group that the policy leaves out."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return any(isinstance(value, str) and value == NO_CASE for value in parameters.values())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remove the tests of groups without cases, sort the others by plan, and note them after all deselection."""
    left_out = [item for item in items if _has_no_case(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _has_no_case(item)]
    config.stash[KEY].arrange(items)
    config.stash[KEY].collected([item.nodeid for item in items])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the evidence of a test to its report. It thus reaches the controller before a worker may crash."""
    report = yield
    item.config.stash[KEY].attach(item, report, call.excinfo)
    return report


class Reports:
    """The hooks that pytest calls without its config. The object holds the session instead."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self) -> Generator[None, None, None]:
        """Take the live line away while pytest writes where the test is."""
        with self.session.without_live_line():
            yield

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        """Write the evidence of a test, and show the claims that it decides."""
        with self.session.without_live_line():
            self.session.receive(report)
            yield
            self.session.announce()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note the reason for an interruption. -x under pytest-xdist is one too."""
        self.session.stopped_by = str(excinfo.value)


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> Any:
    """Show the result of a passed case in the list of tests (-v), instead of PASSED. Undecided cases and errors are told from failed ones."""
    if report.failed and getattr(report, "dmun_audit_error", False):
        return "error", "E", ("ERROR", {"red": True})
    result = "" if hasattr(report, "wasxfail") else getattr(report, "dmun_audit_words", "")
    if not result:
        return None
    return (UNDECIDED, "I", (result, {"yellow": True})) if report.failed else ("passed", ".", (result, {"green": True}))


def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Stop before the next test if the audit cannot continue."""
    if item.config.stash[KEY].fatal:
        item.session.shouldstop = "the audit cannot continue"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Conclude the audits before other plugins write their reports, and set the exit code."""
    if KEY in session.config.stash:
        session.exitstatus = session.config.stash[KEY].finish(session, int(exitstatus))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the summary with the verdict and the path of the report."""
    if KEY in config.stash:
        for line in config.stash[KEY].summary():
            terminalreporter.write_line(line)
        undecided = terminalreporter.stats.get(UNDECIDED, [])
        for report in undecided if len(undecided) <= MOST_UNDECIDED else undecided[:3]:
            terminalreporter.write_line(f"INCONCLUSIVE {report.nodeid}", yellow=True)
        if len(undecided) > MOST_UNDECIDED:
            terminalreporter.write_line(f"and {len(undecided) - 3} more undecided cases (-v lists all)", yellow=True)


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_summary(prefix: list[str], session: pytest.Session) -> None:
    """Put the verdict at the head of pytest-html's page."""
    if KEY in session.config.stash:
        prefix.extend(session.config.stash[KEY].html_summary())


@pytest.fixture(scope="session")
def audit(pytestconfig: pytest.Config) -> AuditFixture:
    """The audit. `audit.check(case)` runs a case and fails the test if the claim is refuted or undecided."""
    return pytestconfig.stash[KEY].fixture()
