"""Opens models, judges and store of a resolved audit. An audit loads torch here and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import LoadError
from dmun_audit.claim_groups.planning import candidate_requests
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.engines.choice import LOCAL
from dmun_audit.engines.models_to_load import ModelsToLoad
from dmun_audit.evidence.schema import JsonObject
from dmun_audit.models import references
from dmun_audit.render import devices
from dmun_audit.runtime.measures import AuditMeasures
from dmun_audit.runtime.observations import AuditObservations
from dmun_audit.runtime.runner import AuditRunner

if TYPE_CHECKING:
    from dmun_audit.engines.cluster import Cluster
    from dmun_audit.judge.clip_scorer import ClipScorer
    from dmun_audit.judge.loading import JudgeLoader
    from dmun_audit.judge.prompt_judge import PromptJudge
    from dmun_audit.judge.protocol import StoredImageDetector
    from dmun_audit.measures.protocol import Metric
    from dmun_audit.models.in_memory import InMemoryModel
    from dmun_audit.models.loaded import LoadedModel
    from dmun_audit.plan.case import Side
    from dmun_audit.policy import Sampling
    from dmun_audit.render.engine import Engine


@dataclass
class AuditRuntime:
    """Models, store and judges, opened once in a process and shared by the audits of all targets."""

    base: LoadedModel
    candidate: LoadedModel
    engine: Engine
    judges: JudgeLoader
    metrics: Sequence[Metric] = ()
    opened: ExitStack = field(default_factory=ExitStack)
    _by_audit: dict[str, tuple[ClipScorer, StoredImageDetector | None]] = field(default_factory=dict)  # by audit hash
    _prompt_judges: dict[str, PromptJudge | None] = field(default_factory=dict)  # by audit hash

    def close(self) -> None:
        """End what was started outside of this process."""
        self.opened.close()

    def judges_of(self, config: AuditConfig) -> tuple[ClipScorer, StoredImageDetector | None]:
        """The judge of one target's audit, and the second judge or None. Raises LoadError if one cannot be loaded."""
        if config.audit_hash not in self._by_audit:
            read = self.engine.read
            scorer = self.judges.clip_scorer(config.judge, config.dossier, config.store_folder, read, config.detector)
            second = (
                self.judges.second_judge(config.second_judge, scorer, config.store_folder, read) if config.second_judge else None
            )
            self._by_audit[config.audit_hash] = (scorer, second)
        return self._by_audit[config.audit_hash]

    def observations(self, config: AuditConfig) -> AuditObservations:
        """The images of one target's audit, with its judges."""
        scorer, second = self.judges_of(config)
        return AuditObservations(config.plan, self.engine, scorer, second, self.prompt_judge_of(config))

    def prompt_judge_of(self, config: AuditConfig) -> PromptJudge | None:
        """The judge of one target's composition prompts; None without one. Raises LoadError if it cannot be loaded."""
        if config.audit_hash not in self._prompt_judges:
            prompts = [prompt.text for prompt in config.dossier.compositions]
            self._prompt_judges[config.audit_hash] = (
                self.judges.prompt_judge(config.composition_judge, prompts, config.store_folder, self.engine.read)
                if config.composition_judge
                else None
            )
        return self._prompt_judges[config.audit_hash]

    def runner(self, config: AuditConfig) -> tuple[AuditRunner, JsonObject]:
        """The runner of one target's cases, and the manifest's facts on models, judges and machine."""
        observations = self.observations(config)
        facts = self._facts(config, observations)
        return AuditRunner(observations, AuditMeasures(observations, self.metrics)), facts

    def _facts(self, config: AuditConfig, observations: AuditObservations) -> JsonObject:
        from dmun_audit.render.sampling import differences

        samplers = self.engine.samplers
        sampling = config.policy.sampling
        return {
            "models": {
                "base": _model_facts(config.base, self.base, config.source_files.get("base", {})),
                "candidate": _model_facts(config.candidate, self.candidate, config.source_files.get("candidate", {})),
            },
            "judge": _judge_facts(config, observations),
            "sampler": self.engine.sampler
            | {
                "size": list(self.engine.size),
                "dtype": sampling.dtype,
                "batch": sampling.batch,
                "threads": sampling.threads,
            },
            "candidate_sampler": samplers["candidate"].settings,
            "hardware": self.engine.hardware,
            "warnings": [
                *differences(samplers["base"], samplers["candidate"]),
                *self.base.proof.get("warnings", []),
                *self.candidate.proof.get("warnings", []),
                *shortfalls(config.plan),
            ],
        }


def open_runtime(
    configs: Sequence[AuditConfig],
    on_rendered: Callable[[int], None],
    in_memory: Mapping[Side, InMemoryModel] | None = None,
) -> AuditRuntime:
    """Load everything for these audits, which share models, policy and store.

    `in_memory` are the models that are pipelines in memory. Close the runtime afterwards. Raises LoadError, before any image is
    drawn, if a model or a judge cannot be loaded or fails its load proof, or if prompts are too long for the base's text
    encoder. Raises UsageError if a cluster cannot be reached.
    """
    devices.let_idle_threads_sleep()
    from dmun_audit.judge.loading import JudgeLoader
    from dmun_audit.measures.registry import registered_metrics
    from dmun_audit.models.probe import confirm_probe
    from dmun_audit.models.source_files import Source
    from dmun_audit.render.engine import Engine
    from dmun_audit.store.images import ImageStore

    config = configs[0]
    sampling = config.policy.sampling
    devices.use_threads(sampling.threads)
    device = devices.choose_device()
    to_load = ModelsToLoad(
        config.base,
        config.candidate,
        {side: Source(digest, config.source_states.get(side, "")) for side, digest in config.source_digests.items()},
        sampling.dtype,
        config.trust_remote_code,
        wanted=tuple(
            (request.prompt, request.seed)
            for each in configs
            for request in (candidate_requests(each.plan) if config.candidate.startswith(references.IMAGES) else ())
        ),
    )
    with ExitStack() as opened:
        cluster = opened.enter_context(closing(_cluster(config))) if config.engine != LOCAL else None
        drawing_device = device if cluster is None else "cpu"  # this process draws nothing for a cluster
        models = to_load.load(drawing_device, in_memory)
        base, candidate = models["base"], models["candidate"]
        _confirm_weights(config, candidate, base.reference)
        for model in (base, candidate):
            confirm_probe(model, config.store_folder, drawing_device)
        store = ImageStore(config.store_folder)
        if cluster is None:
            engine = Engine(models, sampling, store, on_rendered)
        else:
            from dmun_audit.engines.ray_engine import RayEngine

            engine = opened.enter_context(closing(RayEngine(cluster, to_load, models, sampling, store, on_rendered)))
        runtime = AuditRuntime(base, candidate, engine, JudgeLoader(device), registered_metrics(device))
        for each in configs:
            runtime.judges_of(each)
            runtime.prompt_judge_of(each)
            _refuse_overlong(base.pipeline, each)
        runtime.opened = opened.pop_all()
    return runtime


def _cluster(config: AuditConfig) -> Cluster:
    from dmun_audit.engines.cluster import Cluster

    return Cluster(config.engine, config.policy.sampling.threads)


def _confirm_weights(config: AuditConfig, candidate: LoadedModel, base: references.ModelReference) -> None:
    """Raise LoadError if the candidate has other weights than those from which the plan was drawn."""
    from dmun_audit.models.loaded_digest import WeightsToLoad

    loaded = WeightsToLoad(
        candidate.reference,
        base,
        config.source_digests,
        config.policy.sampling.dtype,
        config.trust_remote_code,
        config.store_folder,
    )
    loaded.confirm(config.tensors_digest, candidate.tensors_digest)


def base_engine(base: references.ModelReference, sampling: Sampling, store_folder: Path) -> Engine:
    """An engine for one complete model, without a judge."""
    devices.let_idle_threads_sleep()
    from dmun_audit.models.loading import load_pipeline
    from dmun_audit.models.probe import confirm_probe
    from dmun_audit.render.engine import Engine
    from dmun_audit.store.images import ImageStore

    devices.use_threads(sampling.threads)
    device = devices.choose_device()
    loaded = load_pipeline(base, dtype=sampling.dtype, device=device)
    confirm_probe(loaded, store_folder, device)
    return Engine({"base": loaded}, sampling, ImageStore(store_folder))


def _model_facts(reference: str, model: Any, files: Mapping[str, str]) -> JsonObject:
    """`files` are the SHA-256 of the model's files by name: what sha256sum prints."""
    return {
        "reference": reference,
        "files": dict(files),
        "source_digest": model.source_digest,
        "weights_digest": model.weights_digest,
        "tensors_digest": model.tensors_digest or None,
        "proof": model.proof,
    }


def _judge_facts(config: AuditConfig, observations: AuditObservations) -> JsonObject:
    """Reference and digest of the judge, and of the detector, the second judge and the composition judge if there are any."""
    scorer = observations.scorer
    facts: dict[str, Any] = {"reference": config.judge, "digest": scorer.judge.digest}
    others = {"detector": scorer.detector, "second": observations.second, "composition": observations.prompt_judge}
    return facts | {role: {"reference": each.reference, "digest": each.digest} for role, each in others.items() if each}


def _refuse_overlong(pipeline: Any, config: AuditConfig) -> None:
    too_long = overlong_prompts(pipeline, config)
    if too_long:
        raise LoadError(
            f"{len(too_long)} prompts are too long for the text encoder of {config.base}, such as {too_long[0]!r}",
            "the text encoder would silently cut off their ends",
            "shorten them in the dossier, or in the file of --unrelated",
        )


def overlong_prompts(pipeline: Any, config: AuditConfig) -> list[str]:
    """Prompts of the audit with more tokens than the pipeline's first text encoder reads."""
    tokenizer = getattr(pipeline, "tokenizer", None)
    if tokenizer is None:
        return []
    dossier = config.dossier
    texts = [
        *dossier.target.direct_prompts,
        *(prompt for concept in dossier.concepts for prompt in concept.prompts),
        *(prompt.text for prompt in dossier.adversarial),
        *(case.prompt.text for case in config.plan.cases if case.prompt),
    ]
    return [text for text in dict.fromkeys(texts) if len(tokenizer(text).input_ids) > tokenizer.model_max_length]
