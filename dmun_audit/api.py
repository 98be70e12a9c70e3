"""The Python API: `audit` audits a model, `load_run` opens an earlier audit, `compare` compares several, `log_to_…` logs one. See also `campaign_api`."""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.evidence.manifest import Manifest
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.verdict.vocabulary import AuditVerdict

if TYPE_CHECKING:
    import pandas
    from diffusers import DiffusionPipeline

    from dmun_audit.comparison.comparison import Comparison
    from dmun_audit.comparison.methods import MethodTable
    from dmun_audit.evidence.schema import Side
    from dmun_audit.knowledge.dossier import Dossier, World
    from dmun_audit.models.in_memory import InMemoryModel
    from dmun_audit.models.references import ModelReference
    from dmun_audit.policy import Policy
    from dmun_audit.tracking.tracked_run import TrackedRun

WARNING = "warning: "
"""Lines on a failure of a tracker start like this."""

REPORT_HEIGHT = 720
"""Height of the report in a notebook, in pixels."""


@dataclass(frozen=True)
class AuditResult:
    """The result of an audit. A notebook shows it as the HTML report.

    Attributes:
        run: The content of the run folder: manifest and records.
    """

    run: Run

    @property
    def verdict(self) -> AuditVerdict:
        """The verdict on the audit. It is a string: `result.verdict == "PASS"`."""
        return self.run.verdict

    @property
    def exit_code(self) -> int:
        """The exit code with which `pytest audits/` ends for this verdict."""
        return self.verdict.exit_code

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for the verdict, in sentences."""
        return self.run.reasons

    @property
    def claims(self) -> tuple[CaseRecord, ...]:
        """The records of the claims over whole groups: erasure, adversarial prompts, retention."""
        return tuple(case for case in self.run.cases if case.pooled)

    @property
    def cases(self) -> tuple[CaseRecord, ...]:
        """The records of all cases, pooled claims included."""
        return self.run.cases

    @property
    def failures(self) -> tuple[CaseRecord, ...]:
        """The records of the cases that are refuted or undecided, without waived cases."""
        return tuple(case for case in self.run.cases if case.is_failure)

    @property
    def manifest(self) -> Manifest:
        """The manifest: verdict, digests, seeds, settings, versions."""
        return self.run.manifest

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.path

    @property
    def report(self) -> Path:
        """The HTML report in the run folder."""
        return self.run.path / "report.html"

    def to_pandas(self) -> pandas.DataFrame:
        """A table with one row for each case.

        Returns:
            A DataFrame with the index `case_id`; the columns are group, title, pooled, gating, verdict, the concept's name,
            role and similarity, the prompt's text and strategy, the numbers of the claim, and one column for each measure.

        Raises:
            UsageError: pandas is not installed.
        """
        return pandas_module().DataFrame([_row(case) for case in self.run.cases]).set_index("case_id")

    def __str__(self) -> str:
        """The verdict with its reasons."""
        target = self.manifest.target.name or "the target"
        return "\n".join([f"{self.verdict}: audit of {target}", *(f"  - {reason}" for reason in self.reasons)])

    def __repr__(self) -> str:
        """Verdict, target and folder."""
        return f"<AuditResult {self.verdict}: {self.manifest.target.name}, {len(self.cases)} cases, {self.folder}>"

    def _repr_html_(self) -> str:
        """The report, for notebooks."""
        from dmun_audit.report.html import render_html

        page = html.escape(render_html(self.run), quote=True)
        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{page}" style="width: 100%; height: {REPORT_HEIGHT}px; border: 0"></iframe>'
        )


def audit(
    candidate: str | Path | DiffusionPipeline,
    base: str | Path | DiffusionPipeline | None = None,
    dossier: str | Path | Dossier | None = None,
    policy: str | Path | Policy = "standard",
    *,
    target: str | None = None,
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
) -> AuditResult:
    """Audit one unlearned model. Evidence and verdict are equal to `pytest audits/` with the same options.

    Call it again after an interruption: it continues the audit and reuses all images. Images of a pipeline in memory that
    computes more than its weights and configuration say are used in one call only; the manifest's load proof names it.

    Args:
        candidate: The model after unlearning: a path or another model reference, or a diffusers pipeline in memory. A
            pipeline is not changed. Do not change its weights before the audit ends.
        base: The model before unlearning, likewise; by default the base model of the candidate's model card.
        dossier: A dossier, its file, or the name of a pack; by default the pack of `target`.
        policy: A policy, its file, or the name of a built-in one.
        target: The concept that was unlearned; required if neither the dossier nor the candidate determines it.
        judge: The CLIP model that judges the images; by default atelier:judge for models of the atelier, else CLIP ViT-B/32.
        detector: A detector of the target, instead of the judge.
        second_judge: A second detector for the same images.
        composition_judge: A judge that is asked whether an image shows its composition prompt; by default the CLIP judge.
        metrics: References of further measures of nearby concepts, which are reported and decide no verdict.
        unrelated: A file with plain prompts far from the target, one in each line; by default a list that ships with the
            package.
        probe_control: A model that never knew the target, as the control of attacks with the weights in hand.
        probe_adapter: The file of a LoRA that an attack merges into the models.
        regress: Run folders of earlier audits. What their attacks found is tried on this candidate.
        baseline: Run folder of an earlier audit. The candidate fails where it is worse than the earlier one beyond chance.
        max_probe_minutes: The time for such attacks, in minutes.
        audit_dir: The run folder; by default a folder under audit-runs/.
        store: The store of images and embeddings: a folder, or a URL such as s3://BUCKET/PREFIX; by default in the user's cache folder.
        audit_seed: The seed from which all image seeds derive; by default 0, or as the policy says. Reports say that it was chosen.
        nonce: A text from outside that nobody could know before the candidate was final, such as a public beacon's value: drawn
            seeds and fresh prompts follow from it too.
        engine: Where images are rendered: "local"; "ray", the Ray cluster at hand or one on this machine for this audit; or
            "ray://HOST:PORT".
        offload: For cards that hold no whole model: "model" has one network at a time on the GPU, "sequential" one layer at a time.
        profile: "fidelity" draws as the policy says. "fast" draws with half of the steps and a quicker solver, and is no release
            evidence.
        keep_going: Draw and judge all cases although a control failed. Otherwise the audit stops there.
        no_images: Leave pictures out of report.html. The run folder keeps them.
        allow_sensitive: Audit an unsafe target. Images of it are rendered and kept.
        trust_remote_code: Run Python code that comes with a model.
        track: Log the finished audit to "mlflow" or "wandb". A failure of the tracker is a Python warning and changes nothing else.
        on_case: Called with each record as soon as its case is decided.

    Returns:
        The result, read from the run folder.

    Raises:
        UsageError: Bad input, or another process writes the run folder. The message says what is wrong, why, and what to do.
        LoadError: A model or judge cannot be loaded, or fails its load proof.
        StoreError: The store or the run folder cannot be written.

    Example:
        >>> import dmun_audit
        >>> result = dmun_audit.audit("atelier:uce-van-gogh", policy="smoke")  # doctest: +SKIP
        >>> result.verdict  # doctest: +SKIP
        <AuditVerdict.PASS: 'PASS'>
    """
    from dmun_audit.config.options import Options
    from dmun_audit.config.resolve import resolve
    from dmun_audit.runtime.whole_audit import run_audit

    in_memory = pipelines_in_memory({"base": base, "candidate": candidate})
    options = Options(
        target=target,
        model=as_reference(candidate, in_memory.get("candidate")),
        base=None if base is None else as_reference(base, in_memory.get("base")),
        world=world_of(in_memory.get("base")),
        knowledge=str(dossier) if isinstance(dossier, Path) else dossier,
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
    config = resolve(options, in_memory=in_memory)
    run = run_audit(config, {(side, m.reference.text): m for side, m in in_memory.items()}, on_case)
    warn_if_not_tracked(run, config.track)
    return AuditResult(run)


def warn_if_not_tracked(run: Run, tracker: str) -> None:
    """Log an audit that has just ended, if a tracker is asked for. A failure is a Python warning."""
    if tracker:
        from dmun_audit.tracking.trackers import tracking_line

        line = tracking_line(run, tracker)
        if line.startswith(WARNING):
            warnings.warn(line.removeprefix(WARNING), stacklevel=3)


def log_to_mlflow(run: AuditResult | str | Path, project: str | None = None, *, images: bool = False) -> TrackedRun:
    """Log a finished audit to MLflow: its parameters, figures, verdict and files. `pip install 'dmun_audit[mlflow]'` brings the client.

    MLFLOW_TRACKING_URI says where the server is. An audit that the experiment has already is not logged again; if its evidence
    has changed since, its MLflow run is updated.

    Args:
        run: The result of an audit, or its run folder.
        project: The experiment; by default MLFLOW_EXPERIMENT_NAME, else dmun_audit.
        images: Whether the images are logged too. Those of a sensitive target are then among them.

    Returns:
        Where the audit is in MLflow.

    Raises:
        UsageError: The audit has no verdict, or MLflow is missing or fails.

    Example:
        >>> import dmun_audit
        >>> dmun_audit.log_to_mlflow("audit-runs/van-gogh-uce", project="erasers").status  # doctest: +SKIP
        'new'
    """
    return _tracked(run, "mlflow", project, images)


def log_to_wandb(run: AuditResult | str | Path, project: str | None = None, *, images: bool = False) -> TrackedRun:
    """Log a finished audit to Weights & Biases, as `log_to_mlflow` does for MLflow. `pip install 'dmun_audit[wandb]'` brings the client.

    WANDB_API_KEY says who the user is. The id of the run follows from the audit, so that a project has one run of it. With
    WANDB_MODE=offline, an audit whose offline run is in the folder already is not logged again.

    Args:
        run: The result of an audit, or its run folder.
        project: The project; by default WANDB_PROJECT, else dmun_audit.
        images: Whether the images are logged too. Those of a sensitive target are then among them.

    Returns:
        Where the audit is in Weights & Biases.

    Raises:
        UsageError: The audit has no verdict, or wandb is missing, has no API key, or fails.

    Example:
        >>> import dmun_audit
        >>> dmun_audit.log_to_wandb("audit-runs/van-gogh-uce").run_id  # doctest: +SKIP
        '970eb1e1ddc7b541829cfed2664feea3'
    """
    return _tracked(run, "wandb", project, images)


def _tracked(run: AuditResult | str | Path, tracker: str, project: str | None, images: bool) -> TrackedRun:
    from dmun_audit.tracking.trackers import track

    return track((run if isinstance(run, AuditResult) else load_run(run)).run, tracker, project, images=images)


def load_run(folder: str | Path) -> AuditResult:
    """Open the run folder of an earlier audit. It also reads folders of version 0.1.0.

    Args:
        folder: The run folder, such as audit-runs/van-gogh-….

    Returns:
        The result. Its verdict is INCOMPLETE if its files contradict it.

    Raises:
        UsageError: The folder is no run folder, or a later version wrote it.

    Example:
        >>> import dmun_audit
        >>> dmun_audit.load_run("no/such/folder")
        Traceback (most recent call last):
        dmun_audit._util.errors.UsageError: no/such/folder is no folder
          why:  a run folder holds manifest.json and evidence.jsonl
          do:   give the folder that an audit wrote (--audit-dir; by default one under audit-runs/)
    """
    from dmun_audit.decisions.checked_run import checked_run

    return AuditResult(checked_run(expanded(folder)))


def compare(*folders: str | Path) -> Comparison:
    """Compare finished audits: which source of similarity predicts damage best, pooled over their targets and models?

    Every run is checked as `load_run` checks it. A run whose files contradict its verdict, or that is incomplete, is left out
    with the reason. So is a second run of the same model and target.

    Args:
        folders: The run folders. A folder that holds run folders stands for all of them.

    Returns:
        The comparison. `dmun-audit compare --orderings` prints it.

    Raises:
        UsageError: A folder is no run folder, or none of the runs counts.

    Example:
        >>> import dmun_audit
        >>> dmun_audit.compare("audit-runs/one", "audit-runs/other").of_damage("kid")[0].source  # doctest: +SKIP
        'CLIP image'
    """
    from dmun_audit.comparison.orderings import compare as compared

    return compared([expanded(folder) for folder in folders])


def compare_methods(*folders: str | Path, reference: str | Path | None = None) -> MethodTable:
    """Put audits of several candidates under one plan side by side: one row each, with every figure and its interval.

    Every run is checked as `load_run` checks it.

    Args:
        folders: The run folders. A folder that holds run folders stands for all of them that count. At least two runs.
        reference: The run with which paired tests compare the others, by its name in the table or by its folder; the first by default.

    Returns:
        The table. `dmun-audit compare` prints it.

    Raises:
        UsageError: A folder is no run folder or is named twice, a run is not finished or does not hold, the plans differ, or the
            reference is none of the runs. The error says in what.

    Example:
        >>> import dmun_audit
        >>> table = dmun_audit.compare_methods("audit-runs/uce", "audit-runs/esd")  # doctest: +SKIP
        >>> table.rows[0].figures["UA"].value  # doctest: +SKIP
        0.98
    """
    from dmun_audit.comparison.methods import compare_methods as compared

    return compared([expanded(folder) for folder in folders], reference)


def as_text(path: str | Path | None) -> str | None:
    """A path as an option has it."""
    return None if path is None else str(path)


def as_texts(values: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """One text or path, or several, as an option that may be repeated has them."""
    return (str(values),) if isinstance(values, str | Path) else tuple(map(str, values))


def pandas_module() -> Any:
    """The module pandas. Raises UsageError if it is not installed."""
    try:
        import pandas
    except ImportError:
        raise UsageError(
            "to_pandas needs pandas", "it is not installed", "pip install pandas, or install dmun_audit[pandas]"
        ) from None
    return pandas


def pipelines_in_memory(models: Mapping[Side, str | Path | DiffusionPipeline | None]) -> dict[Side, InMemoryModel]:
    """The models that are objects. Raises UsageError for an object that is no pipeline."""
    objects = {side: model for side, model in models.items() if model is not None and not isinstance(model, str | Path)}
    if not objects:
        return {}
    from dmun_audit.models.in_memory import in_memory_model

    return {side: in_memory_model(pipeline) for side, pipeline in objects.items()}


def as_reference(model: str | Path | DiffusionPipeline, in_memory: InMemoryModel | None) -> str | ModelReference:
    """A model as an option has it."""
    return in_memory.reference if in_memory else str(model)


def world_of(base: InMemoryModel | None) -> World | None:
    """The world of a base in memory; None if the base has a reference."""
    if base is None:
        return None
    from dmun_audit.models.loading import is_atelier_base

    return "atelier" if is_atelier_base(base) else "real"


def _row(case: CaseRecord) -> dict[str, Any]:
    claim, concept, prompt = case.claim, case.concept, case.prompt
    return {
        "case_id": case.case_id,
        "group": case.group,
        "title": case.title,
        "pooled": case.pooled,
        "gating": case.gating,
        "verdict": str(case.verdict),
        "waived": case.is_waived,
        "concept": concept.name if concept else None,
        "role": concept.role if concept else None,
        "similarity": concept.similarity if concept else None,
        "prompt": prompt.text if prompt else None,
        "strategy": prompt.strategy if prompt else None,
        "kind": claim.kind if claim else None,
        "hits": claim.hits if claim else None,
        "trials": claim.trials if claim else None,
        "estimate": claim.estimate if claim else None,
        "lower": claim.lower if claim else None,
        "upper": claim.upper if claim else None,
        "threshold": claim.threshold if claim else None,
        **case.measures,
    }
