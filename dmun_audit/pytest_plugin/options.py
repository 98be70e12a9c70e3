"""The options of the audits that a pytest session was given, on the command line and in a campaign file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.config.campaign import CampaignOptions, NamedModel
from dmun_audit.config.campaign_file import REPEATED, CampaignFile, read_campaign_file
from dmun_audit.config.options import Options, empty_value, is_lost, lost_value
from dmun_audit.engines.choice import refuse_workers

OTHER_FIELDS = frozenset({"target", "model", "knowledge", "ini_base", "root", "world"})
"""Fields of `Options` that are no option of one value: models, targets and dossiers may be repeated, the rest comes from elsewhere."""


def given_options(config: pytest.Config) -> CampaignOptions:
    """What the command line asks for, and where it is silent, the campaign file: an option of the command line replaces the file's.

    Raises UsageError for an option whose value is lost, for a campaign file that cannot be read, and for workers beside an engine that
    spreads the work itself.
    """
    option = config.option
    names = {field.name for field in fields(Options)} - OTHER_FIELDS
    every = names | {"target", "model", "knowledge", "campaign", "campaign_dir"}
    given: dict[str, Any] = {name: getattr(option, "dmun_" + name, None) for name in every}
    if lost := [name for name in every if is_lost(given[name])]:
        raise lost_value(f"--{min(lost).replace('_', '-')}")
    for name in ("campaign", "campaign_dir"):
        if given[name] is not None and not given[name].strip():
            raise empty_value(f"--{name.replace('_', '-')}")
    campaign = given["campaign"]
    file = CampaignFile() if campaign is None else read_campaign_file(campaign)
    single = dict(file.options) | {name: given[name] for name in names if given[name] is not None}
    single |= {name: tuple(single[name]) for name in REPEATED if name in single}
    shared = Options(**single, ini_base=config.getini("dmun_base"), root=str(config.rootpath))
    if getattr(option, "tx", None):  # the workers of pytest-xdist
        refuse_workers(shared.engine)
    return CampaignOptions(
        shared=shared,
        models=_models(given["model"] or (), file),
        targets=tuple(given["target"] or file.targets),
        knowledge=tuple(given["knowledge"] or file.knowledge),
        folder=given["campaign_dir"] or file.folder,
        leaves_table=campaign is not None,
    )


def price_of(config: pytest.Config) -> float | None:
    """The price of an hour; None if none is given. Raises UsageError for what is no price."""
    text: str | None = config.option.dmun_gpu_price
    if text is None:
        return None
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise UsageError(
            f"--gpu-price={text} is no price",
            "a price is a number, at least 0",
            "give the price of an hour, such as --gpu-price=2.50",
        )
    return price


def _models(references: Sequence[str], file: CampaignFile) -> tuple[NamedModel, ...]:
    """The models of the command line, else those of the file. A model that the file names keeps its name."""
    names: Mapping[str, str] = {model.text: model.name for model in file.models}
    return tuple(NamedModel(text, names.get(text, "")) for text in references) or file.models
