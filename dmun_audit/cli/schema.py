"""`dmun-audit schema`: prints the JSON Schema of dossiers."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dmun_audit.knowledge.dossier import json_schema


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("schema", help="print the JSON Schema of dossiers")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Print the schema."""
    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
    return 0
