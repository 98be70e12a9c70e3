"""Opens models, judges and store of a resolved audit. An audit loads torch here and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import LoadError
from dmun_audit.claim_groups.planning import candidate_requests
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.baseline import refuse_other_conditions
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.engines.choice import LOCAL
from dmun_audit.engines.models_to_load import ModelsToLoad
from dmun_audit.evidence.schema import JsonObject
from dmun_audit.models import references
from dmun_audit.models.source_files import Source
from dmun_audit.render import devices
from dmun_audit.runtime.benches import open_bench
from dmun_audit.runtime.measures import AuditMeasures
from dmun_audit.runtime.observations import AuditObservations
from dmun_audit.runtime.runner import AuditRunner

if TYPE_CHECKING:
    import numpy as np

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
    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.render.engine import Engine


@dataclass(frozen=True)
class Judges:
    """The judge of one target's audit, and its second judge and its judge of composition prompts, if there are any."""

    scorer: ClipScorer
    second: StoredImageDetector | None
    of_prompts: PromptJudge | None


def open_judges(loader: JudgeLoader, config: AuditConfig, read: Callable[[Sequence[str]], list[np.ndarray]]) -> Judges:
    """The judges of one audit. `read` gives the pixels of stored images by key. Raises LoadError if one cannot be loaded."""
    store, prompts = config.store_folder, [prompt.text for prompt in config.dossier.compositions]
    scorer = loader.clip_scorer(config.judge, config.dossier, store, read, config.detector)
    second = loader.second_judge(config.second_judge, scorer, store, read) if config.second_judge else None
    of_prompts = loader.prompt_judge(config.composition_judge, prompts, store, read) if config.composition_judge else None
    return Judges(scorer, second, of_prompts)


@dataclass
class AuditRuntime:
    """One candidate over its base, with store and judges, shared by the audits of all its targets."""

    base: LoadedModel
    candidate: LoadedModel
    engine: Engine
    judges: JudgeLoader
    metrics: Sequence[Metric] = ()
    open_bench: Callable[[AuditConfig], Bench] | None = None  # None where images are rendered elsewhere
    opened: ExitStack = field(default_factory=ExitStack)
    _by_audit: dict[str, Judges] = field(default_factory=dict)  # by audit hash
    _benches: dict[str, Bench] = field(default_factory=dict)  # by audit hash

    def close(self) -> None:
        """End what draws for this candidate outside of this process."""
        self.opened.close()

    def judges_of(self, config: AuditConfig) -> Judges:
        """The judges of one target's audit. Raises LoadError if one cannot be loaded."""
        if config.audit_hash not in self._by_audit:
            self._by_audit[config.audit_hash] = open_judges(self.judges, config, self.engine.read)
        return self._by_audit[config.audit_hash]

    def observations(self, config: AuditConfig) -> AuditObservations:
        """The images of one target's audit, with its judges."""
        judges = self.judges_of(config)
        bench = self._bench_of(config)
        return AuditObservations(config.plan, self.engine, judges.scorer, judges.second, judges.of_prompts, bench)

    def _bench_of(self, config: AuditConfig) -> Bench | None:
        if self.open_bench is None:
            return None
        if config.audit_hash not in self._benches:
            self._benches[config.audit_hash] = self.open_bench(config)
        return self._benches[config.audit_hash]

    def runner(self, config: AuditConfig) -> tuple[AuditRunner, JsonObject]:
        """The runner of one target's cases, and the manifest's facts on models, judges and machine.

        Raises LoadError if the audit has a baseline that was audited with another judge or sampler.
        """
        observations = self.observations(config)
        facts = self._facts(config, observations)
        if config.baseline:
            refuse_other_conditions(config.baseline, facts)
        return AuditRunner(observations, AuditMeasures(observations, self.metrics)), facts

    def _facts(self, config: AuditConfig, observations: AuditObservations) -> JsonObject:
        from dmun_audit.render.sampling import differences

        samplers = self.engine.samplers
        sampling = config.policy.sampling
        return {
            "models": {
                "base": _model_facts(config.base, self.base, config.source_files.get("base", {})),
                "candidate": _model_facts(config.candidate, self.candidate, config.source_files.get("candidate", {})),
                **(
                    {"control": {"reference": config.probe_control, "source_digest": config.probe_control_digest}}
                    if config.probe_control
                    else {}
                ),
            },
            "judge": _judge_facts(config, observations),
            "metrics": _metric_facts(config, self.metrics),
            "sampler": self.engine.sampler
            | {
                "size": list(self.engine.size),
                "dtype": self.engine.dtype,
                "acceleration": self.engine.execution.acceleration,
                "batch": sampling.batch_size,
                "threads": sampling.threads,
            }
            | ({"batch_origin": config.batch_origin} if config.batch_origin else {})
            | ({"offload": config.offload} if config.offload else {}),
            "candidate_sampler": samplers["candidate"].settings,
            "hardware": self.engine.hardware,
            "warnings": [
                *([config.batch_warning] if config.batch_warning else []),
                *differences(samplers["base"], samplers["candidate"]),
                *self.base.proof.get("warnings", []),
                *self.candidate.proof.get("warnings", []),
                *shortfalls(config.plan),
            ],
        }


@dataclass(frozen=True)
class LoadedBase:
    """A loaded base and the networks of the judges: what all candidates of a process share. `open_base` makes it.

    `cluster` renders for this process, if there is one. This process then draws nothing, and `device` is the CPU. It also is where
    models are offloaded.
    """

    model: LoadedModel
    judges: JudgeLoader
    metrics: Sequence[Metric]
    device: str
    on_rendered: Callable[[int], None]
    cluster: Cluster | None = None

    def with_candidate(self, configs: Sequence[AuditConfig], in_memory: InMemoryModel | None = None) -> AuditRuntime:
        """Load the candidate of these audits, which share models, policy and store. `in_memory` is it if it is in memory.

        Close the runtime afterwards. Raises LoadError, before any image is drawn, if the candidate cannot be loaded, here or by a
        renderer of the cluster, or fails its load proof.
        """
        from dmun_audit.models.probe import confirm_probe
        from dmun_audit.render.engine import Engine
        from dmun_audit.store.images import ImageStore

        config, to_load = configs[0], _models_to_load(configs)
        candidate = to_load.load_candidate(self.model, self.device, in_memory)
        _confirm_weights(config, candidate, self.model.reference)
        confirm_probe(candidate, config.store_folder, self.device)
        models: dict[Side, LoadedModel] = {"base": self.model, "candidate": candidate}
        sampling, store = _sampling(config), ImageStore(config.store_folder)
        if self.cluster is None:
            engine = Engine(models, sampling, store, self.on_rendered, config.offload)
            return AuditRuntime(
                self.model, candidate, engine, self.judges, self.metrics, partial(open_bench, engine, self.device)
            )
        from dmun_audit.engines.ray_engine import RayEngine

        with ExitStack() as opening:
            ray_engine = opening.enter_context(
                closing(RayEngine(self.cluster, to_load, models, sampling, store, self.on_rendered))
            )
            judges = replace(self.judges, elsewhere=ray_engine)  # the networks are the same
            return AuditRuntime(self.model, candidate, ray_engine, judges, self.metrics, opened=opening.pop_all())

    def close(self) -> None:
        """Leave the cluster, if there is one. A local cluster that was started for the audit ends."""
        if self.cluster is not None:
            self.cluster.close()


def open_base(
    configs: Sequence[AuditConfig], on_rendered: Callable[[int], None], in_memory: InMemoryModel | None = None
) -> LoadedBase:
    """Load what the audits of all candidates share: the base and the judges. `in_memory` is the base if it is in memory.

    Close it afterwards. Raises LoadError, before any image is drawn, if the base or a judge cannot be loaded or fails its load
    proof, or if prompts are too long for the base's text encoder. Raises UsageError if a cluster cannot be reached.
    """
    devices.let_idle_threads_sleep()
    from dmun_audit.judge.loading import JudgeLoader
    from dmun_audit.measures.references import open_metrics
    from dmun_audit.measures.registry import registered_metrics
    from dmun_audit.models.probe import confirm_probe

    config = configs[0]
    devices.use_threads(config.policy.sampling.threads)
    device = devices.choose_device()
    with ExitStack() as opening:
        cluster = opening.enter_context(closing(_cluster(config))) if config.engine != LOCAL else None
        drawing_device = device if cluster is None and config.offload is None else "cpu"
        base = _models_to_load(configs).load_base(drawing_device, in_memory)
        confirm_probe(base, config.store_folder, drawing_device)
        judges = JudgeLoader(device)
        for each in configs:
            open_judges(judges, each, _no_image_yet)
            _refuse_overlong(base.pipeline, each)
        registered = registered_metrics(device)
        named = open_metrics(config.metrics, judges, taken=[metric.name for metric in registered])
        loaded = LoadedBase(base, judges, [*registered, *named], drawing_device, on_rendered, cluster)
        opening.pop_all()
    return loaded


def open_runtime(configs: Sequence[AuditConfig], on_rendered: Callable[[int], None]) -> AuditRuntime:
    """Load everything for the audits of one candidate, which share models, policy and store. Raises what loading raises."""
    return open_base(configs, on_rendered).with_candidate(configs)


def _sampling(config: AuditConfig) -> Sampling:
    """How images are made, with this machine's number format and acceleration: renderers on other machines use them too."""
    sampling = config.policy.sampling
    return replace(
        sampling,
        dtype=devices.number_format(sampling.dtype),
        acceleration=devices.acceleration(sampling.acceleration),
    )


def _models_to_load(configs: Sequence[AuditConfig]) -> ModelsToLoad:
    config = configs[0]
    drawn = [each for each in configs if each.candidate == config.candidate and each.candidate.startswith(references.IMAGES)]
    return ModelsToLoad(
        config.base,
        config.candidate,
        {side: Source(digest, config.source_states.get(side, "")) for side, digest in config.source_digests.items()},
        _sampling(config).dtype,
        config.trust_remote_code,
        wanted=tuple((request.prompt, request.seed) for each in drawn for request in candidate_requests(each.plan)),
    )


def _no_image_yet(keys: Sequence[str]) -> list[np.ndarray]:
    raise ValueError("A judge read images while it was opened.")


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
        _sampling(config).dtype,
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
    loaded = load_pipeline(base, dtype=devices.number_format(sampling.dtype), device=device)
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


def _metric_facts(config: AuditConfig, metrics: Sequence[Metric]) -> list[JsonObject]:
    """Reference, name and digest of each metric that the user named, and the digest of its files."""
    from dmun_audit.measures.metric_kind import ReferencedMetric

    files = dict(zip(config.metrics, config.metric_digests, strict=True))
    return [
        {"reference": each.reference, "name": each.name, "digest": each.digest, "files_digest": files[each.reference]}
        for each in metrics
        if isinstance(each, ReferencedMetric) and each.reference in files
    ]


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
