"""The audits of a session: every model is audited for every target, each as if alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.errors import StoreError, UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit._util.paths import expanded
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.options import FIDELITY, Options, refuse_empty
from dmun_audit.config.resolve import Models, find_models, planned
from dmun_audit.config.targets import placed, prefixes, questions_for, resolve_all, targets_with_knowledge
from dmun_audit.models.references import ATELIER, IMAGES, PIPELINE, WEIGHTS_SUFFIXES, ModelReference
from dmun_audit.plan.case import Side
from dmun_audit.plan.waivers import check_waivers

if TYPE_CHECKING:
    from dmun_audit.models.in_memory import InMemoryModel


@dataclass(frozen=True)
class NamedModel:
    """A candidate as the user gave it: a reference or a pipeline in memory, and its name in tables, if the user chose one."""

    reference: str | ModelReference
    name: str = ""
    in_memory: InMemoryModel | None = None

    @property
    def text(self) -> str:
        """Its reference as text."""
        return self.reference if isinstance(self.reference, str) else self.reference.text


@dataclass(frozen=True)
class CampaignOptions:
    """What a user asks for: candidates, targets and dossiers, and the options that all audits share.

    A session of one candidate is a campaign only if the user asks for a table.
    """

    shared: Options
    models: tuple[NamedModel, ...] = ()
    targets: tuple[str, ...] = ()
    knowledge: tuple[str, ...] = ()
    folder: str | None = None  # where the table of the campaign is written
    leaves_table: bool = False
    base_in_memory: InMemoryModel | None = None

    @property
    def is_campaign(self) -> bool:
        """Whether the session leaves a table."""
        return len(self.models) > 1 or self.leaves_table or self.folder is not None


@dataclass(frozen=True)
class LostAudit:
    """An audit that cannot begin, because its model cannot be loaded."""

    model_name: str
    candidate: str
    target: str
    error: UsageError


@dataclass(frozen=True)
class Campaign:
    """The resolved audits of a session, by model, then by target. `folder` is None if the session leaves no table."""

    audits: tuple[AuditConfig | LostAudit, ...]
    id: str = ""  # SHA-256 of what is asked, without what the weights decide
    folder: Path | None = None

    @property
    def configs(self) -> list[AuditConfig]:
        """The audits that can begin."""
        return [each for each in self.audits if isinstance(each, AuditConfig)]

    @property
    def lost(self) -> list[LostAudit]:
        """The audits that cannot begin."""
        return [each for each in self.audits if isinstance(each, LostAudit)]


def resolve_campaign(options: CampaignOptions, *, only_listed: bool = False) -> Campaign:
    """Resolve all audits. Raises UsageError for bad input, before anything is drawn.

    A model of several that cannot be loaded loses only its own audits. Options that no audit can follow, and models without
    exception that cannot be loaded, are an error of the whole session. `only_listed` is as in `resolve.planned`.
    """
    if not options.is_campaign:
        shared = replace(options.shared, model=options.models[0].reference) if options.models else options.shared
        return Campaign(tuple(resolve_all(shared, options.targets, options.knowledge, only_listed=only_listed)))
    models = named(options.models or (NamedModel(find_models(options.shared).candidate),))
    for model in models:
        refuse_empty(Options(model=model.reference))
    pairs = targets_with_knowledge(options.targets, options.knowledge)
    slugs = prefixes([model.name for model in models])
    audits: list[AuditConfig | LostAudit] = []
    base: Models | None = None
    for model, folder in zip(models, slugs, strict=True):
        try:
            found = find_models(replace(options.shared, model=model.reference))
        except StoreError:  # it concerns all models
            raise
        except UsageError as error:
            audits += _lost(model, [target or Path(reference or "").stem for target, reference in pairs], error)
            continue
        base = _with_the_same_base(base, found, model)
        found = replace(found, known_base_files=base.base_files, by_default=not options.models)
        questions = questions_for(replace(options.shared, model=model.reference), found, pairs)
        try:
            configs = [planned(each, _pipelines(options, model), only_listed=only_listed) for each in questions]
        except StoreError:
            raise
        except UsageError as error:
            audits += _lost(model, [question.dossier.target.name for question in questions], error)
            continue
        configs = [replace(config, model_name=model.name) for config in configs]
        targets = prefixes([config.dossier.target.name for config in configs])
        audits += placed(options.shared, configs, [f"{folder}/{target}" for target in targets])
    campaign = Campaign(tuple(audits), _id(options, models, base))
    _check(campaign)
    return replace(campaign, folder=_folder(options, campaign.id))


def named(models: Sequence[NamedModel]) -> list[NamedModel]:
    """The models, each with a name of its own: the given one, else the end of its reference, if no other model has it.

    Raises UsageError for a model that is given twice, and for two models of one name.
    """
    short = [model.name or _short(model.text) for model in models]
    unique = [name if model.name or short.count(name) == 1 else model.text for name, model in zip(short, models, strict=True)]
    for (name, model), (other_name, other) in combinations(zip(unique, models, strict=True), 2):
        if model.text == other.text and model.in_memory is other.in_memory:
            raise UsageError(
                f"the same model is given twice: {model.text}", "it would be one audit in one folder", "omit one of them"
            )
        if slug(name) == slug(other_name) and name != model.text:
            raise UsageError(
                f"two models have the name {name!r}: {model.text} and {other.text}",
                "a name tells tests, folders and rows of the table apart; capitals and punctuation do not count",
                "give one of them another name",
            )
    return [replace(model, name=name) for name, model in zip(unique, models, strict=True)]


def _short(text: str) -> str:
    path = text.removeprefix(ATELIER).removeprefix(IMAGES).removeprefix(PIPELINE).rstrip("/")
    end = path.rpartition("/")[2]
    return end.removesuffix(Path(end).suffix) if Path(end).suffix in WEIGHTS_SUFFIXES else end


def _lost(model: NamedModel, targets: Sequence[str], error: UsageError) -> list[LostAudit]:
    return [LostAudit(model.name, model.text, target or "its own target", error) for target in targets]


def _pipelines(options: CampaignOptions, model: NamedModel) -> dict[Side, InMemoryModel]:
    """The models that are pipelines in memory, by side."""
    sides: dict[Side, InMemoryModel | None] = {"base": options.base_in_memory, "candidate": model.in_memory}
    return {side: pipeline for side, pipeline in sides.items() if pipeline is not None}


def _with_the_same_base(earlier: Models | None, found: Models, model: NamedModel) -> Models:
    """The models of the first candidate. Raises UsageError if this candidate has another base."""
    if earlier is None:
        return found
    one, other = ((models.base.kind, models.base.path, models.base.name) for models in (earlier, found))
    if one != other:
        raise UsageError(
            f"the models have different bases: {earlier.candidate.text} has {earlier.base.text}, and {model.text} has {found.base.text}",
            "a campaign compares every model with one base, whose images are drawn once",
            "give that base as --base, or audit the models in several runs",
        )
    return earlier


def _check(campaign: Campaign) -> None:
    """Raise UsageError if no audit can begin, if a waiver matches no case of any audit, or if two audits have one folder."""
    configs, lost = campaign.configs, campaign.lost
    if not configs:
        errors = {each.candidate: each.error for each in lost}
        first = next(iter(errors.values()))
        if len({str(error) for error in errors.values()}) == 1:
            raise first
        reasons = "; ".join(dict.fromkeys(error.in_a_line for error in errors.values()))
        raise UsageError(f"none of the {len(errors)} models can be audited", reasons, first.remedy)
    check_waivers([config.plan for config in configs], configs[0].day)
    for config, other in combinations(configs, 2):
        if config.run_folder == other.run_folder:
            raise UsageError(
                f"{config.candidate} and {other.candidate} are the same model",
                f"the run folder of both is {config.run_folder}",
                "omit one of them, or give --audit-dir: each model then has its own folder in it",
            )


def _id(options: CampaignOptions, models: Sequence[NamedModel], base: Models | None) -> str:
    asked = [[model.text for model in models], list(options.targets), list(options.knowledge)]
    shared = options.shared
    policy = shared.policy if shared.policy is None or isinstance(shared.policy, str) else shared.policy.as_dict()
    given = [policy, shared.judge, shared.detector, shared.second_judge, shared.composition_judge, shared.audit_seed]
    profile = [shared.profile] if shared.profile != FIDELITY else []
    metrics = [list(shared.metric)] if shared.metric else []
    runs = [[list(shared.regress), list(shared.baseline)]] if shared.regress or shared.baseline else []
    return digest([asked, given, base.base.text if base else "", *profile, *metrics, *runs])


def _folder(options: CampaignOptions, campaign: str) -> Path:
    if options.folder:
        return expanded(options.folder, f"--campaign-dir={options.folder}")
    return Path(options.shared.root) / "audit-runs" / f"campaign-{campaign[:8]}"
