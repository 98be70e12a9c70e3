"""The options of every command that asks a language model."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path
from typing import Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import LanguageModelAccess, transcript_beside
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import KINDS, LanguageModelReference, parse_language_model


def add_to(parser: argparse.ArgumentParser, *, required: bool = True, several: bool = False) -> None:
    """Add the options; `--llm` is `required` or not, and may be given `several` times or once."""
    group = parser.add_argument_group(
        "language model", "A hosted model needs a key, which is read from DMUN_LLM_API_KEY or OPENAI_API_KEY."
    )
    more = "; give it once for each model" if several else ""
    action = "append" if several else "store"
    group.add_argument("--llm", required=required, metavar="REF", action=action, help=f"{KINDS}{more}")
    group.add_argument("--temperature", type=float, default=0.7, help="sampling temperature (default: 0.7)")
    group.add_argument("--seed", type=int, default=0, help="seed of sampling and of the order of listed concepts (default: 0)")
    group.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="time limit of one answer (default: 300)")
    group.add_argument("--concurrency", type=int, default=4, metavar="N", help="questions open at once over HTTP (default: 4)")
    group.add_argument("--batch", type=int, default=4, metavar="N", help="questions in a batch of transformers (default: 4)")
    group.add_argument(
        "--quantize", choices=["none", "4bit", "8bit"], default="none", help="quantize transformers weights (needs bitsandbytes)"
    )
    parser.add_argument(
        "--allow-sensitive", action="store_true", help="allow an unsafe target: prompts about it are written and images rendered"
    )


def language_model_access(
    arguments: argparse.Namespace, output: Path, option: Literal["llm", "vlm"] = "llm"
) -> LanguageModelAccess:
    """Access to the language model that `option` names. Its answers are kept beside `output`, and its retries are logged.

    Raises UsageError for an option without sense.
    """
    transcript = transcript_beside(output, "" if option == "llm" else f".{option}")
    return access_to(arguments, parse_language_model(getattr(arguments, option)), transcript)


def access_to(arguments: argparse.Namespace, reference: LanguageModelReference, transcript: Path) -> LanguageModelAccess:
    """Access to the language model that `reference` names. Its answers are kept in `transcript`, and its retries are logged."""
    _log_to_terminal()
    return LanguageModelAccess(reference, transcript, _settings(arguments), arguments.temperature, arguments.seed)


def _log_to_terminal() -> None:
    """Print log messages of level INFO, such as retries, unless another level is set already."""
    logging.basicConfig(format="  %(message)s")
    logger = logging.getLogger("dmun_audit")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def _settings(arguments: argparse.Namespace) -> Settings:
    for option in ("timeout", "concurrency", "batch"):
        require_at_least(arguments, option, 1)
    require_at_least(arguments, "temperature", 0)
    return Settings(arguments.timeout, arguments.concurrency, arguments.batch, arguments.quantize)


def require_at_least(arguments: argparse.Namespace, option: str, minimum: float) -> None:
    """Raise UsageError if the value of `option` is no finite number of at least `minimum`."""
    value = getattr(arguments, option)
    if not (value >= minimum and math.isfinite(value)):
        raise UsageError(f"--{option}={value} makes no sense", "", f"give a number of at least {minimum}")


def require_new_file(output: Path, force: bool) -> None:
    """Raise UsageError if `output` is a folder, or exists and `force` is false."""
    if output.is_dir():
        raise UsageError(f"{output} is a folder", "", "name a file, such as van-gogh.json")
    if output.exists() and not force:
        raise UsageError(f"{output} exists", "the command would replace it", "add --force, or name another file with -o")


def print_progress(line: str) -> None:
    """Print a line of progress to standard error."""
    print(f"  {line}", file=sys.stderr, flush=True)
