"""`dmun-audit schema`: prints the JSON Schema of a file format."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any


def _evidence() -> dict[str, Any]:
    from dmun_audit.evidence.published_schemas import json_schema

    return json_schema("evidence")


def _manifest() -> dict[str, Any]:
    from dmun_audit.evidence.published_schemas import json_schema

    return json_schema("manifest")


def _audit() -> dict[str, Any]:
    from dmun_audit.report.exports.whole import whole_audit_schema

    return whole_audit_schema()


def _campaign() -> dict[str, Any]:
    from dmun_audit.campaigns.records import campaign_schema

    return campaign_schema()


def _dossier() -> dict[str, Any]:
    from dmun_audit.knowledge.dossier import json_schema

    return json_schema()


def _policy() -> dict[str, Any]:
    from dmun_audit.policy import policy_json_schema

    return policy_json_schema()


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "evidence": _evidence,
    "manifest": _manifest,
    "audit": _audit,
    "campaign": _campaign,
    "dossier": _dossier,
    "policy": _policy,
}
"""Every file format with the function that returns its JSON Schema; the function imports what it needs."""


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("schema", help="print the JSON Schema of a file format")
    parser.add_argument(
        "name", nargs="?", default="dossier", choices=tuple(SCHEMAS), metavar="|".join(SCHEMAS), help="default: dossier"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    print(json.dumps(SCHEMAS[arguments.name](), indent=1, ensure_ascii=False))
    return 0
