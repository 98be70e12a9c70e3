"""Writes the parts of the reference that come from the code: `python docs/generate.py`.

A page holds such a part between `<!-- generated: NAME -->` and `<!-- end -->`. The parts are committed, so that the pages
can be read on a code host too. A test compares them with the code.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from tables import about, code, help_text, kind_of, object_table, schema_of, schema_tables, section_of, sentence, shown, table

FOLDER = Path(__file__).parent
BLOCK = re.compile(r"(?P<start><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def rendered(page: Path) -> str:
    """The text of a page with its generated parts as the code has them now."""
    return BLOCK.sub(lambda match: f"{match['start']}{PARTS[match['name']]().strip()}\n{match['end']}", page.read_text("utf-8"))


def pages() -> list[Path]:
    """The pages that hold generated parts."""
    return [page for page in sorted(FOLDER.rglob("*.md")) if BLOCK.search(page.read_text("utf-8"))]


# The command line.


def pytest_options() -> str:
    """One row for each option of `pytest audits/`."""
    from dmun_audit.plugin import OPTIONS

    rows = []
    for name, settings in OPTIONS:
        value = f"={settings['metavar']}" if "metavar" in settings else ""
        rows.append([code(f"--{name}{value}"), help_text(settings["help"])])
    return table(["option", "what it says"], rows)


def commands() -> str:
    """A section for each command of `dmun-audit`."""
    from dmun_audit.cli import build_parser

    return "\n".join(_sections(build_parser(), ""))


def _sections(parser: argparse.ArgumentParser, level: str, about: str = "") -> Iterator[str]:
    """The section of `parser`, then those of its sub-commands. argparse has no public way to list what a parser takes."""
    if level:
        yield f"{level} {parser.prog}\n"
    if about:
        yield sentence(help_text(about)) + "\n"
    own = [action for action in parser._actions if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)]
    if level:  # every command takes --log-level: said once, at the top
        own = [action for action in own if "--log-level" not in action.option_strings]
    if own:
        yield table(["argument", "what it says"], [[_spelling(action), help_text(action.help or "")] for action in own]) + "\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                yield from _sections(command, f"{level}#" if level else "##", helps.get(name, ""))


def _spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        shown = action.metavar if isinstance(action.metavar, str) else action.dest
        return code(f"[{shown}]" if action.nargs == "?" else f"{shown} …" if action.nargs == "+" else shown)
    value = ""
    if action.nargs != 0:
        choices = "|".join(map(str, action.choices)) if action.choices else ""
        value = " " + str(action.metavar or choices or action.dest.upper())
    spelt = ", ".join(code(option + value) for option in action.option_strings)
    return spelt + (" (required)" if action.required else "")


# Policies, dossiers, evidence.


def policy_keys() -> str:
    """The keys of a policy, section by section, with the values of the policies that ship."""
    from dmun_audit import policy

    shipped = {name: policy.load_policy(name) for name in policy.built_in_names()}
    schema = schema_of(policy.Policy)
    definitions = schema.get("$defs", {})
    sections = {key: name for key, value in schema["properties"].items() if (name := section_of(value, definitions))}
    top = {key: value for key, value in schema["properties"].items() if key not in sections}
    text = ["### Top level\n", _policy_table(top, definitions, shipped)]
    for key, name in sections.items():
        section, held = definitions[name], {policy_name: getattr(each, key) for policy_name, each in shipped.items()}
        text.append(f"\n### [{key}]\n\n{about(section)}{_if_left_out(schema['properties'][key])}\n")
        text.append(_policy_table(section["properties"], definitions, held))
    waiver = definitions["Waiver"]
    text.append(f"\n### [[waivers]]\n\n{about(waiver)}\n")
    text.append(object_table(waiver, definitions))
    return "\n".join(text)


def _if_left_out(value: dict[str, Any]) -> str:
    """What holds without an optional section, from the description of its key; empty for a section that a policy needs."""
    if "anyOf" not in value:
        return ""
    without = re.search(r"Without it, .*", value.get("description", ""))
    return f" This section is optional. {without[0] if without else 'Without it there is no such claim.'}"


def _policy_table(properties: dict[str, Any], definitions: dict[str, Any], shipped: dict[str, Any]) -> str:
    """The keys of one section. `shipped` holds the section of each policy; None for a policy without it."""
    rows = []
    for key, value in properties.items():
        if key == "waivers":
            continue  # they have a table of their own
        meaning = f"{sentence(help_text(value.get('description', '')))} Value: {kind_of(value, definitions)}."
        rows.append([code(key), meaning.strip(), *(shown(getattr(held, key, None)) for held in shipped.values())])
    return table(["key", "what it says", *shipped], rows)


def dossier_fields() -> str:
    """The fields of a dossier, from its JSON Schema."""
    from dmun_audit.knowledge.dossier import Dossier

    return schema_tables(schema_of(Dossier), "###")


def packs() -> str:
    """The dossiers that ship."""
    from dmun_audit.knowledge.packs import open_knowledge, pack_names

    dossiers = {name: open_knowledge(name) for name in pack_names()}
    rows = [
        [code(name), held.target.name, held.target.kind, held.world, str(len(held.concepts)), str(len(held.adversarial))]
        for name, held in sorted(dossiers.items(), key=lambda entry: (entry[1].world != "real", entry[1].target.kind, entry[0]))
    ]
    return table(["pack", "target", "kind", "world", "nearby concepts", "adversarial prompts"], rows)


def evidence_fields() -> str:
    """The fields of one line of evidence.jsonl."""
    from dmun_audit.evidence.schema import CaseRecord

    return schema_tables(schema_of(CaseRecord), "###")


def manifest_fields() -> str:
    """The fields of manifest.json."""
    from dmun_audit.evidence.manifest import Manifest

    return schema_tables(schema_of(Manifest), "###")


def campaign_fields() -> str:
    """The fields of campaign.json."""
    from dmun_audit.campaigns.records import CampaignRecord

    return schema_tables(schema_of(CampaignRecord), "###")


# The Python API.


def python_api() -> str:
    """Directives for everything that `dmun_audit` exports; Sphinx fills them from the docstrings."""
    return _directives("dmun_audit")


def _directives(path: str) -> str:
    module = importlib.import_module(path)
    elsewhere = {"statistics"} if path == "dmun_audit" else set(importlib.import_module("dmun_audit").__all__)
    lines = []
    for name in module.__all__:
        if name in elsewhere:
            continue
        item = getattr(module, name)
        if inspect.isclass(item):
            values = ["   :undoc-members:"] if issubclass(item, Enum) else []
            lines += [f".. autoclass:: {path}.{name}", "   :members:", *values, ""]
        elif callable(item):
            lines += [f".. autofunction:: {path}.{name}", ""]
    return "\n".join(["```{eval-rst}", *lines[:-1], "```"])


def statistics_api() -> str:
    """Directives for the public statistics."""
    return _directives("dmun_audit.statistics") if importlib.util.find_spec("dmun_audit.statistics") else ""


def detector_protocol() -> str:
    """The module of the protocol of detectors."""
    return _protocol("dmun_audit.judge.protocol")


def metric_protocol() -> str:
    """The module of the protocol of metrics."""
    return _protocol("dmun_audit.measures.protocol")


def language_model_servers() -> str:
    """One row for each server or service that has a short name."""
    from dmun_audit.knowledge.language_models.providers import PROVIDERS

    rows = []
    for provider in PROVIDERS.values():
        variables = [" or ".join(map(code, names)) for names in (provider.url_variables, provider.key_variables)]
        rows.append([code(f"{provider.name}:"), provider.title, code(provider.url) if provider.url else "your own", *variables])
    return table(["name", "server", "URL", "another URL", "key"], rows)


def language_model_protocol() -> str:
    """The module of the protocol of language models."""
    return _protocol("dmun_audit.knowledge.language_models.protocol")


def _protocol(path: str) -> str:
    if importlib.util.find_spec(path) is None:
        return ""
    module = importlib.import_module(path)
    own = [name for name, item in vars(module).items() if inspect.isclass(item) and item.__module__ == path]
    members = ", ".join(name for name in own if not name.startswith("_"))
    return f"```{{eval-rst}}\n.. automodule:: {path}\n   :members: {members}\n```"


def probes_table() -> str:
    """One row for each probe."""
    from dmun_audit.probes.registry import probes

    rows = []
    for probe in probes():
        control = "none: reported" if probe.teaches else "the candidate itself"
        doses = {effort: [dose.label for dose in probe.doses(effort)] for effort in ("small", "published")}
        tried = {
            effort: "; ".join(labels) if len(labels) < 7 else f"{labels[0]} to {labels[-1]} ({len(labels)})"
            for effort, labels in doses.items()
        }
        rows.append([code(probe.name), probe.explanation, tried["small"], tried["published"], control, probe.source])
    heads = ["probe", "what somebody does", "small setting", "published setting", "control without a control model", "source"]
    return table(heads, rows)


# The files of CI servers.


def ci_file(template: str, language: str) -> str:
    """A file that `dmun-audit init --ci=…` writes, as a block of code."""
    from dmun_audit.cli.init import TEMPLATE

    return f"```{language}\n{(TEMPLATE / template).read_text('utf-8').rstrip()}\n```"


PARTS: dict[str, Callable[[], str]] = {
    "pytest-options": pytest_options,
    "commands": commands,
    "policy-keys": policy_keys,
    "dossier-fields": dossier_fields,
    "packs": packs,
    "evidence-fields": evidence_fields,
    "manifest-fields": manifest_fields,
    "campaign-fields": campaign_fields,
    "probes": probes_table,
    "python-api": python_api,
    "statistics-api": statistics_api,
    "detector-protocol": detector_protocol,
    "metric-protocol": metric_protocol,
    "language-model-servers": language_model_servers,
    "language-model-protocol": language_model_protocol,
    "ci-github": partial(ci_file, "ci-github.txt", "yaml"),
    "github-action": partial(ci_file, "github-action.txt", "yaml"),
    "ci-gitlab": partial(ci_file, "ci-gitlab.txt", "yaml"),
    "ci-jenkins": partial(ci_file, "ci-jenkins.txt", "groovy"),
}


def main() -> int:
    """Write every page anew whose generated parts differ from the code; with --check only name them, and fail."""
    parser = argparse.ArgumentParser(description="Write the parts of the reference that come from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page differs from the code")
    check = parser.parse_args().check
    differing = {page: text for page in pages() if (text := rendered(page)) != page.read_text("utf-8")}
    for page, text in differing.items():
        print(
            f"{page.relative_to(FOLDER.parent)} {'differs from the code: run python docs/generate.py' if check else 'is written'}"
        )
        if not check:
            page.write_text(text, "utf-8")
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
