"""`dmun-audit requests`: lists the prompts and seeds of the images that an audit of `--model=images:FOLDER` needs."""

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
    """Declare the command."""
    parser = commands.add_parser("requests", help="list the images that you must make for --model=images:FOLDER")
    parser.add_argument("--target", action="append", default=[], help="the unlearned concept; repeat it for several concepts")
    parser.add_argument("--base", required=True, help="the model before unlearning, as in the audit")
    parser.add_argument(
        "--knowledge",
        action="append",
        default=[],
        help="the dossier, as in the audit; default: the dossier that ships with the package",
    )
    parser.add_argument("--policy", help="the policy, as in the audit; default: standard")
    parser.add_argument(
        "--audit-seed",
        type=int,
        help="the seed of the audit; needed if the policy derives seeds from the fingerprint of the model",
    )
    parser.add_argument("--nonce", help="text from outside that fresh prompts follow from, as in the audit")
    parser.add_argument(
        "--unrelated", help="your own plain prompts, as in the audit; default: a list that ships with the package"
    )
    parser.add_argument("--allow-sensitive", action="store_true", help="list the prompts of an unsafe target")
    parser.add_argument("-o", "--out", type=Path, help="where to write the list; default: print it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write one JSON object a line: file_name, prompt, seed. The list is the `metadata.jsonl` of the folder of images."""
    from dmun_audit.config.options import Options
    from dmun_audit.config.resolve import requests_of
    from dmun_audit.config.targets import targets_with_knowledge

    common = Options(
        base=arguments.base,
        policy=arguments.policy,
        unrelated=arguments.unrelated,
        audit_seed=arguments.audit_seed,
        nonce=arguments.nonce,
        allow_sensitive=arguments.allow_sensitive,
    )
    pairs = targets_with_knowledge(arguments.target, arguments.knowledge)
    requests_of_targets = [requests_of(replace(common, target=target, knowledge=knowledge)) for target, knowledge in pairs]
    images = list(dict.fromkeys(request for requests in requests_of_targets for request in requests))
    lines = "".join(json.dumps(_entry(number, request), ensure_ascii=False) + "\n" for number, request in enumerate(images))
    if arguments.out is None:
        sys.stdout.write(lines)
        return 0
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(lines, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{arguments.out} cannot be written", str(error)) from None
    print(f"{len(images)} images of {len({request.prompt for request in images})} prompts, listed in {arguments.out}")
    print(
        "Save the images beside the list under their file names, name the list metadata.jsonl, and audit with --model=images:FOLDER."
    )
    return 0


def _entry(number: int, request: ImageRequest) -> dict[str, Any]:
    return {"file_name": f"{number:05}.png", "prompt": request.prompt, "seed": request.seed}
