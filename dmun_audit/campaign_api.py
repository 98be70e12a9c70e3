"""The Python API of campaigns: several models and targets at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError
from dmun_audit.api import (
    AuditResult,
    as_reference,
    as_text,
    as_texts,
    pandas_module,
    pipelines_in_memory,
    warn_if_not_tracked,
    world_of,
)
from dmun_audit.verdict.vocabulary import AuditVerdict

if TYPE_CHECKING:
    import pandas
    from diffusers import DiffusionPipeline

    from dmun_audit.campaigns.records import AuditRow, CampaignRecord
    from dmun_audit.config.campaign import NamedModel
    from dmun_audit.evidence.schema import CaseRecord, Side
    from dmun_audit.models.in_memory import InMemoryModel
    from dmun_audit.policy import Policy


@dataclass(frozen=True)
class CampaignResult:
    """The result of a campaign. As text, it is the table.

    Attributes:
        record: The table as `campaign.json` holds it: a row for each audit.
        results: The results of the audits that were concluded, by the names of model and target.
        errors: Why the other audits were not concluded, by the same names.
        folder: The folder with campaign.md and campaign.json.
    """

    record: CampaignRecord
    results: Mapping[tuple[str, str], AuditResult]
    errors: Mapping[tuple[str, str], str]
    folder: Path

    @property
    def verdict(self) -> AuditVerdict:
        """The verdict over all audits: the first in the order of precedence."""
        return self.record.verdict

    @property
    def exit_code(self) -> int:
        """The exit code with which `pytest audits/` ends for this verdict."""
        return self.record.exit_code

    def to_pandas(self) -> pandas.DataFrame:
        """A table with one row for each audit.

        Returns:
            A DataFrame with the index `model`, `target`; the columns are verdict, estimate, upper bound and limit of each
            group's claim, images, seconds and folder.

        Raises:
            UsageError: pandas is not installed.
        """
        return pandas_module().DataFrame([_audit_row(row) for row in self.record.audits]).set_index(["model", "target"])

    def __str__(self) -> str:
        """The table, and the reasons of the audits that did not pass."""
        from dmun_audit.campaigns.table import table_lines

        return "\n".join(table_lines(self.record))

    def __repr__(self) -> str:
        """Verdict, number of audits and folder."""
        return f"<CampaignResult {self.verdict}: {len(self.record.audits)} audits, {self.folder}>"


def campaign(
    models: Sequence[str | Path | DiffusionPipeline] | Mapping[str, str | Path | DiffusionPipeline],
    targets: str | Sequence[str] = (),
    base: str | Path | DiffusionPipeline | None = None,
    dossiers: str | Path | Sequence[str | Path] = (),
    policy: str | Path | Policy = "standard",
    *,
    judge: str | None = None,
    detector: str | None = None,
    second_judge: str | None = None,
    composition_judge: str | None = None,
    metrics: str | Sequence[str] = (),
    unrelated: str | Path | None = None,
    probe_control: str | None = None,
    probe_adapter: str | Path | None = None,
    regress: str | Path | Sequence[str | Path] = (),
    baseline: str | Path | Sequence[str | Path] = (),
    max_probe_minutes: float | None = None,
    campaign_dir: str | Path | None = None,
    audit_dir: str | Path | None = None,
    store: str | Path | None = None,
    audit_seed: int | None = None,
    nonce: str | None = None,
    engine: str = "local",
    offload: str | None = None,
    profile: str = "fidelity",
    keep_going: bool = False,
    no_images: bool = False,
    allow_sensitive: bool = False,
    trust_remote_code: bool = False,
    track: str | None = None,
    on_case: Callable[[CaseRecord], None] | None = None,
) -> CampaignResult:
    """Audit several unlearned models for several targets. Each audit is the same as alone; base images are drawn once.

    A model that cannot be loaded loses only its own audits. Call it again after an interruption: it goes on.

    Args:
        models: The models after unlearning, or a mapping of their names in the table to them.
        targets: The concepts. Every model is audited for every one. The default is the targets of the dossiers; without dossiers,
            each model's own target.
        base: The model before unlearning, the same for all models.
        dossiers: Files or names of packs; by default the pack of each target.
        campaign_dir: The folder for the table; by default one under audit-runs/.
        audit_dir: A folder with a run folder for each audit; by default each has its own under audit-runs/.
        policy, judge, detector, second_judge, composition_judge, metrics, unrelated: As in `audit`, for all audits.
        probe_control, probe_adapter, regress, baseline, max_probe_minutes: As in `audit`, for all audits.
        store, audit_seed, nonce, engine, offload, profile, keep_going, no_images: As in `audit`, for all audits.
        allow_sensitive, trust_remote_code, track, on_case: As in `audit`.

    Returns:
        The result, with the result of each audit.

    Raises:
        UsageError: Bad input, or none of the models can be audited.
        LoadError: The base or a judge cannot be loaded.
        StoreError: The store or a folder cannot be written.

    Example:
        >>> import dmun_audit
        >>> result = dmun_audit.campaign({"UCE": "atelier:uce-van-gogh", "ESD": "atelier:esd-van-gogh"}, "Van Gogh")  # doctest: +SKIP
        >>> result.results["UCE", "Van Gogh"].verdict  # doctest: +SKIP
        <AuditVerdict.PASS: 'PASS'>
    """
    from dmun_audit.config.campaign import CampaignOptions, resolve_campaign
    from dmun_audit.config.options import Options
    from dmun_audit.runtime.whole_campaign import run_campaign

    named = _named_models(models)
    below = pipelines_in_memory({"base": base}).get("base")
    shared = Options(
        base=None if base is None else as_reference(base, below),
        world=world_of(below),
        policy=str(policy) if isinstance(policy, Path) else policy,
        judge=judge,
        detector=detector,
        second_judge=second_judge,
        composition_judge=composition_judge,
        metric=as_texts(metrics),
        unrelated=as_text(unrelated),
        probe_control=probe_control,
        probe_adapter=as_text(probe_adapter),
        regress=as_texts(regress),
        baseline=as_texts(baseline),
        max_probe_minutes=max_probe_minutes,
        audit_dir=as_text(audit_dir),
        store=as_text(store),
        audit_seed=audit_seed,
        nonce=nonce,
        engine=engine,
        offload=offload,
        profile=profile,
        keep_going=keep_going,
        no_images=no_images,
        allow_sensitive=allow_sensitive,
        trust_remote_code=trust_remote_code,
        track=track,
    )
    asked = CampaignOptions(
        shared,
        named,
        (targets,) if isinstance(targets, str) else tuple(targets),
        tuple(map(str, [dossiers] if isinstance(dossiers, str | Path) else dossiers)),
        folder=as_text(campaign_dir),
        leaves_table=True,
        base_in_memory=below,
    )
    in_memory: dict[tuple[Side, str], InMemoryModel] = {
        ("candidate", each.text): each.in_memory for each in named if each.in_memory
    } | ({("base", below.reference.text): below} if below else {})
    record, ended, folder = run_campaign(resolve_campaign(asked), in_memory, on_case)
    for each in ended:
        if each.run:
            warn_if_not_tracked(each.run, track or "")
    return CampaignResult(
        record,
        {(each.model, each.target): AuditResult(each.run) for each in ended if each.run},
        {(each.model, each.target): each.error for each in ended if not each.run},
        folder,
    )


def _named_models(
    models: Sequence[str | Path | DiffusionPipeline] | Mapping[str, str | Path | DiffusionPipeline],
) -> tuple[NamedModel, ...]:
    """The candidates of a campaign. Raises UsageError for none, and for an object that is no pipeline."""
    from dmun_audit.config.campaign import NamedModel

    if isinstance(models, str | Path) or not models:
        raise UsageError(
            f"models = {models!r} is no collection of models", "", "give a list of models, or a mapping of names to models"
        )
    members = list(models.items()) if isinstance(models, Mapping) else [("", model) for model in models]
    named = []
    for place, (name, model) in enumerate(members, 1):
        if isinstance(model, str | Path):
            named.append(NamedModel(str(model), name))
            continue
        from dmun_audit.models.in_memory import in_memory_model

        pipeline = in_memory_model(model, name or f"model-{place}")
        named.append(NamedModel(pipeline.reference, name, pipeline))
    return tuple(named)


def _audit_row(row: AuditRow) -> dict[str, Any]:
    numbers = {f"{group}_{name}": value for group, figures in row.claims.items() for name, value in figures}
    facts = ("model", "target", "reference", "verdict", "rendered", "reused", "seconds", "folder")
    return {name: row[name] for name in facts} | {"verdict": str(row.verdict)} | numbers
