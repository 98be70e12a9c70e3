"""Options that every command shares which asks a language model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dmun_audit.knowledge.build import Asking, transcript_beside
from dmun_audit.knowledge.language_models.reference import KINDS, Settings, parse_language_model


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
    """How a language model is asked."""
    return Settings(asked.timeout, asked.concurrency, asked.batch, asked.quantize)


def asking(asked: argparse.Namespace, output: Path) -> Asking:
    """Which language model is asked; its answers are kept beside `output`."""
    reference = parse_language_model(asked.llm)
    return Asking(reference, transcript_beside(output), settings(asked), asked.temperature, asked.seed)


def tell(line: str) -> None:
    """Say how far it is."""
    print(f"  {line}", file=sys.stderr, flush=True)
