"""Options that every command shares which asks a language model."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import Asking, transcript_beside
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import KINDS, parse_language_model


def add_to(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options."""
    group = parser.add_argument_group(
        "language model", "the key, where one is needed, comes from DMUN_LLM_API_KEY or OPENAI_API_KEY"
    )
    group.add_argument("--llm", required=required, metavar="REF", help=KINDS)
    group.add_argument("--temperature", type=float, default=0.7, help="of sampling (default: 0.7)")
    group.add_argument(
        "--seed", type=int, default=0, help="of sampling and of the orders in which concepts are listed (default: 0)"
    )
    group.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="for one answer (default: 300)")
    group.add_argument("--concurrency", type=int, default=4, metavar="N", help="questions at once, over HTTP (default: 4)")
    group.add_argument("--batch", type=int, default=4, metavar="N", help="questions in a batch, with transformers (default: 4)")
    group.add_argument(
        "--quantize", choices=["none", "4bit", "8bit"], default="none", help="weights of transformers (needs bitsandbytes)"
    )
    parser.add_argument(
        "--allow-sensitive", action="store_true", help="work on an unsafe target: prompts of it are written, images drawn"
    )


def settings(asked: argparse.Namespace) -> Settings:
    """How a language model is asked. Raises UsageError for figures without sense."""
    for option in ("timeout", "concurrency", "batch"):
        require_at_least(asked, option, 1)
    require_at_least(asked, "temperature", 0)
    return Settings(asked.timeout, asked.concurrency, asked.batch, asked.quantize)


def asking(asked: argparse.Namespace, output: Path, which: str = "llm") -> Asking:
    """The language model that the option `which` names; its answers are kept beside `output`, its retries told of."""
    logging.basicConfig(format="  %(message)s")
    if logging.getLogger("dmun_audit").level == logging.NOTSET:  # --log-level has been given otherwise
        logging.getLogger("dmun_audit").setLevel(logging.INFO)
    reference = parse_language_model(getattr(asked, which))
    kept = transcript_beside(output, "" if which == "llm" else f".{which}")
    return Asking(reference, kept, settings(asked), asked.temperature, asked.seed)


def require_at_least(asked: argparse.Namespace, option: str, least: float) -> None:
    """Raise UsageError where the number given for `option` is less than `least`, or none."""
    value = getattr(asked, option)
    if not value >= least or value == float("inf"):
        raise UsageError(f"--{option}={value} makes no sense", "", f"give a number of at least {least}")


def require_new_file(output: Path, force: bool) -> None:
    """Raise UsageError where a dossier cannot be written to `output`, or would replace one that the user did not give up."""
    if output.is_dir():
        raise UsageError(f"{output} is a folder", "", "name a file, such as van-gogh.json")
    if output.exists() and not force:
        raise UsageError(
            f"{output} exists", "a frozen dossier is not replaced by accident", "add --force, or name another with -o"
        )


def tell(line: str) -> None:
    """Say how far it is."""
    print(f"  {line}", file=sys.stderr, flush=True)
