"""What the commands share that draw images: options, and opening models, judge, language model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.errors import UsageError
from dmun_audit.cli.dossier import asking
from dmun_audit.config.resolve import Options, resolve
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.lengths import TokenCounter, counter_of
from dmun_audit.models.references import parse_reference

if TYPE_CHECKING:
    from dmun_audit.runtime.runner import Audit


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of models, judge and output."""
    parser.add_argument("dossier", help="path of a dossier, or name of a pack")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", required=True, help="the new dossier")
    parser.add_argument("--force", action="store_true", help="replace an existing dossier")
    parser.add_argument(
        "--policy", default="standard", help="sampler and images a prompt: smoke, standard, paper, release or a file"
    )
    parser.add_argument("--judge", metavar="REF", help="as in an audit")
    parser.add_argument("--store", metavar="DIR", help="store of images (default: in the user's cache folder)")
    parser.add_argument("--audit-seed", type=int, metavar="N", help="seed of all image seeds (default: as in an audit)")
    parser.add_argument("--max-images", type=int, metavar="N", help="refuse to begin if more could be needed")


@dataclass(frozen=True)
class Tools:
    """Everything that discovery works with."""

    audit: Audit
    interviewer: Interviewer
    counter: TokenCounter


@contextmanager
def opened(asked: argparse.Namespace, model: str, output: Path) -> Iterator[Tools]:
    """Models, judge and language model for a dossier, closed again at the end."""
    from dmun_audit.runtime.loading import assemble

    options = Options(
        model=model,
        base=asked.base,
        knowledge=str(asked.dossier),
        policy=asked.policy,
        judge=asked.judge,
        store=asked.store,
        audit_seed=asked.audit_seed,
        allow_sensitive=asked.allow_sensitive,
    )
    setup = resolve(options)
    named = asking.asking(asked, output)
    with named.opened() as transcript:
        audit, _ = assemble(setup, lambda count: None)
        interviewer = Interviewer(transcript, named.temperature, named.seed, asking.tell)
        yield Tools(audit, interviewer, counter_of(parse_reference(setup.base)))


def state_budget(asked: argparse.Namespace, budget: int) -> None:
    """Say what it may cost before it begins. Raises UsageError where that is more than the user allows."""
    print(f"up to {budget:,} images will be looked at; those in the store are not drawn again", flush=True)
    limit = asked.max_images
    if limit is not None and budget > limit:
        raise UsageError(
            f"up to {budget:,} images could be needed",
            f"--max-images allows {limit:,}",
            "fewer --rounds, a smaller --policy, or a higher limit",
        )
