"""The part of `dossier build` that shows images to a vision-language model."""

from __future__ import annotations

import argparse
from pathlib import Path

from dmun_audit.cli.dossier import asking
from dmun_audit.knowledge.build import Asking
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview.asking import Interviewer
from dmun_audit.policy import load_policy
from dmun_audit.references import ModelReference
from dmun_audit.setup import default_store


def look(asked: argparse.Namespace, dossier: Dossier, base: ModelReference, seeing: Asking) -> Dossier:
    """The dossier with the ordering of the vision-language model behind `seeing`, which sees images of `base`."""
    from dmun_audit.assemble import base_engine
    from dmun_audit.discover.looking import looking_budget, order_by_looking

    asking.tell(f"{looking_budget(dossier):,} images of {base.text} are drawn for the vision-language model")
    store = Path(asked.store).expanduser() if asked.store else default_store()
    engine = base_engine(base, load_policy(asked.policy).sampling, store)
    with seeing.opened() as transcript:
        return order_by_looking(dossier, engine, Interviewer(transcript, seeing.temperature, seeing.seed, asking.tell))
