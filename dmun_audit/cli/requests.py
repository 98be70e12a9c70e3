"""`dmun-audit requests`: the prompts and seeds whose images an audit of `--model=images:FOLDER` needs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError

if TYPE_CHECKING:
    from dmun_audit.plan.case import ImageRequest


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("requests", help="list the images that a candidate must bring whose images are made elsewhere")
    parser.add_argument("--target", action="append", default=[], help="the concept that was unlearned; repeat it for several")
    parser.add_argument("--base", required=True, help="the model before unlearning, as in the audit")
    parser.add_argument(
        "--knowledge", action="append", default=[], help="the dossier, as in the audit; default: the pack that ships"
    )
    parser.add_argument("--policy", help="the policy, as in the audit; default: standard")
    parser.add_argument(
        "--audit-seed", type=int, help="the audit's seed; needed where the policy draws seeds after the fingerprint"
    )
    parser.add_argument("--allow-sensitive", action="store_true", help="list prompts of an unsafe target")
    parser.add_argument("-o", "--out", type=Path, help="where to write the list; default: print it")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Write one JSON table a line: file_name, prompt, seed. It is the `metadata.jsonl` of the folder that the images go to."""
    from dmun_audit.config.resolve import Options, requests_of
    from dmun_audit.config.targets import with_knowledge

    plain = Options(base=asked.base, policy=asked.policy, audit_seed=asked.audit_seed, allow_sensitive=asked.allow_sensitive)
    pairs = with_knowledge(asked.target, asked.knowledge)
    each = [requests_of(replace(plain, target=target, knowledge=knowledge)) for target, knowledge in pairs]
    found = list(dict.fromkeys(request for requests in each for request in requests))
    lines = "".join(json.dumps(_entry(number, request), ensure_ascii=False) + "\n" for number, request in enumerate(found))
    if asked.out is None:
        sys.stdout.write(lines)
        return 0
    try:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(lines, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{asked.out} cannot be written", str(error)) from None
    print(f"{len(found)} images of {len({request.prompt for request in found})} prompts, listed in {asked.out}")
    print("Put them beside the list under their file names, name it metadata.jsonl, and audit with --model=images:FOLDER.")
    return 0


def _entry(number: int, request: ImageRequest) -> dict[str, Any]:
    return {"file_name": f"{number:05}.png", "prompt": request.prompt, "seed": request.seed}
