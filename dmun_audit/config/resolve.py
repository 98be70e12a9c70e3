"""Resolves the options of an audit: references, dossier, policy, plan.

It loads torch to learn the digest of the candidate's weights, where the store does not know it and tests are to run; and to learn the
number format and the batch size of a GPU, if torch is no CPU build.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit._util.paths import expanded
from dmun_audit.claim_groups.planning import candidate_requests, make_plan
from dmun_audit.claim_groups.probe_planning import PROBES
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.baseline import find_baseline, refuse_images_elsewhere
from dmun_audit.config.batch_size import BatchTrial
from dmun_audit.config.dossiers import find_dossier
from dmun_audit.config.options import FIDELITY, PROFILES, Options, refuse_empty, store_of
from dmun_audit.config.probe_adapter import find_adapter
from dmun_audit.config.probe_control import check_probes, find_control
from dmun_audit.config.regressions import find_regressions
from dmun_audit.config.seeds import fingerprint_without_candidate, no_seed_yet, seeds_of
from dmun_audit.engines.choice import LOCAL, check_engine, check_offload
from dmun_audit.engines.models_to_load import ModelsToLoad
from dmun_audit.judge.kinds import check_judge, check_others, parse_judge
from dmun_audit.judge.prompt_judge import check_prompt_judge
from dmun_audit.judge.reference import ATELIER_JUDGE
from dmun_audit.knowledge.dossier import Dossier, World
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.plain_prompts import read_prompts
from dmun_audit.measures.references import digest_of_sources, parse_metrics
from dmun_audit.models import headers, references
from dmun_audit.models.loaded_digest import WeightsToLoad
from dmun_audit.models.source_files import Source, read_source
from dmun_audit.plan.baseline import Baseline
from dmun_audit.plan.case import ImageRequest, Side
from dmun_audit.plan.regressions import Regression
from dmun_audit.policy import Policy, load_policy
from dmun_audit.render.devices import let_idle_threads_sleep, number_format
from dmun_audit.tracking.names import check_tracker

if TYPE_CHECKING:
    from dmun_audit.models.in_memory import InMemoryModel

REAL_JUDGE = "open_clip:ViT-B-32/laion2b_s34b_b79k"


@dataclass(frozen=True)
class Models:
    """The two models of an audit. They do not depend on the target. `by_default`: whether the user named no candidate."""

    base: references.ModelReference
    candidate: references.ModelReference
    by_default: bool
    world: World
    known_base_files: Source | None = None  # the files of the base, if they were read for another candidate

    @cached_property
    def base_files(self) -> Source:
        """The files of the base, read once: reading gigabytes is slow."""
        return self.known_base_files or read_source(self.base)

    @cached_property
    def files(self) -> dict[str, Source]:
        """The files of both models, read once."""
        return {"base": self.base_files, "candidate": read_source(self.candidate)}

    @property
    def sources(self) -> dict[str, str]:
        """The digests of the files of both models."""
        return {side: source.digest for side, source in self.files.items()}


def find_models(options: Options) -> Models:
    """The models that the options name. Raises UsageError if the files of a model do not match its reference."""
    candidate = _reference(options.model or f"atelier:{references.atelier_default()}")
    base = _reference(options.base) if options.base else references.default_base(candidate, options.ini_base)
    headers.cheap_check(candidate, base, options.trust_remote_code)
    world = options.world or ("atelier" if references.is_atelier(base) else "real")
    return Models(base, candidate, by_default=options.model is None, world=world)


def _reference(model: str | references.ModelReference) -> references.ModelReference:
    return references.parse_reference(model) if isinstance(model, str) else model


@dataclass(frozen=True)
class Question:
    """What an audit asks of a candidate: everything but the candidate's weights and what follows from them."""

    options: Options
    models: Models
    dossier: Dossier
    knowledge: str
    policy: Policy
    judge: str
    others: Mapping[str, str]
    unrelated: tuple[str, ...]
    regressions: tuple[Regression, ...] = ()
    baseline: Baseline | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)  # the digest of the files of each reference


def question_of(options: Options, models: Models, *, among_others: bool = False) -> Question:
    """What these options ask, with models that are already known. Raises UsageError for bad input.

    `among_others` says whether the session has other targets too.
    """
    refuse_empty(options)
    if options.track:
        check_tracker(options.track, "--track")
    dossier, knowledge = find_dossier(options, models.candidate, models.base, models.world)
    require_allowed(dossier.target.name, dossier.target.kind, options.allow_sensitive)
    policy = _policy(options)
    judge = options.judge or (ATELIER_JUDGE if dossier.world == "atelier" else REAL_JUDGE)
    check_judge(judge)
    others = check_others(judge, options.detector, options.second_judge)
    others |= _composition_judge(options, policy)
    _check_needs(policy, others)
    runs = options.regress
    regressions = find_regressions(runs, dossier, models.base_files.digest, among_others=among_others) if runs else ()
    refuse_images_elsewhere(options.baseline, models.candidate)
    base_files = models.base_files.digest if options.baseline else ""
    baseline = find_baseline(options.baseline, dossier, base_files, among_others=among_others)
    metrics = {reference.text: digest_of_sources(reference) for reference in parse_metrics(options.metric)}
    own_prompts = _own_prompts(options, policy)
    return Question(options, models, dossier, knowledge, policy, judge, others, own_prompts, regressions, baseline, metrics)


def resolve(options: Options, in_memory: Mapping[Side, InMemoryModel] | None = None, *, only_listed: bool = False) -> AuditConfig:
    """Resolve everything that can be resolved before the audit. See `planned` for the other arguments and for errors."""
    refuse_empty(options)
    return planned(question_of(options, find_models(options)), in_memory, only_listed=only_listed)


def planned(
    question: Question, in_memory: Mapping[Side, InMemoryModel] | None = None, *, only_listed: bool = False
) -> AuditConfig:
    """The audit that answers a question, with its plan. Raises UsageError for bad input.

    `in_memory` are the models that are pipelines in memory, by side. The digest of the candidate's weights as loaded is needed
    for the seeds: where the store does not have it, the candidate is loaded, which raises LoadError if it cannot be. On a GPU, both
    models are loaded to try a batch, where the store does not know how many images fit. With `only_listed` the tests are not run:
    nothing is loaded, and the seed may be unknown.
    """
    options, models, dossier = question.options, question.models, question.dossier
    check_engine(options.engine, in_memory or {})
    offload = check_offload(options.offload, options.engine, models.candidate.kind)
    let_idle_threads_sleep()  # before torch may be loaded
    to_load, pipelines = _weights_to_load(options, question.policy, models), in_memory or {}
    weights = to_load.known() if only_listed else to_load.digest(pipelines.get("candidate"), pipelines.get("base"))
    both = ModelsToLoad(models.base.text, models.candidate.text, models.files, to_load.dtype, options.trust_remote_code)
    trial = BatchTrial(question.policy, both, to_load.store, pipelines)
    batch = trial.settle(drawn_here=options.engine == LOCAL and options.offload is None, only_listed=only_listed)
    policy = batch.policy
    identity = weights or (models.sources["candidate"] if models.candidate.kind == "hook" else "")
    seeds = seeds_of(options, policy, dossier.digest(), models.candidate, identity)
    earlier = (question.regressions, question.baseline)
    plan = make_plan(dossier, policy, seeds.audit_seed, seeds.fingerprint, question.unrelated, *earlier)
    if models.candidate.kind == "images":
        from dmun_audit.models.external_images import ImageFolder

        folder = ImageFolder(models.candidate)
        folder.expect((request.prompt, request.seed) for request in candidate_requests(plan))
        folder.refuse_repeats()
    judge, others = question.judge, dict(question.others)
    check_probes(options, plan, models.candidate)
    control = find_control(options, dossier, models.sources["candidate"], models.world) if plan.of_group(PROBES) else None
    control_digest = read_source(control).digest if control else ""
    further: dict[str, object] = {**others, **({"probe_control": control_digest} if control else {})}
    adapter = find_adapter(options, plan)
    adapter_digest = read_source(adapter).digest if adapter else ""
    if adapter:
        further["probe_adapter"] = adapter_digest
    if question.metrics:
        further["metrics"] = [[text, files] for text, files in question.metrics.items()]
    audit_hash = digest([plan.digest(), models.sources, judge, *([further] if further else [])])
    root = Path(options.root)
    name = f"{slug(dossier.target.name)}-{slug(models.candidate.text)}-{audit_hash[:8]}"
    return AuditConfig(
        base=models.base.text,
        candidate=models.candidate.text,
        judge=judge,
        dossier=dossier,
        knowledge=question.knowledge,
        policy=policy,
        audit_seed=seeds.audit_seed,
        seeds=seeds.drawn,
        audit_hash=audit_hash,
        run_folder=expanded(options.audit_dir, f"--audit-dir={options.audit_dir}")
        if options.audit_dir
        else root / "audit-runs" / name,
        store_folder=store_of(options),
        source_digests=models.sources,
        source_states={side: source.state for side, source in models.files.items()},
        source_files={side: dict(source.files) for side, source in models.files.items()},
        by_default=models.by_default,
        trust_remote_code=options.trust_remote_code,
        plan=plan,
        fingerprint=seeds.fingerprint,
        tensors_digest=weights,
        nonce=options.nonce or "",
        engine=options.engine,
        offload=offload,
        batch_origin=batch.origin,
        batch_warning=batch.warning,
        keep_going=options.keep_going,
        detector=others.get("detector"),
        second_judge=others.get("second_judge"),
        composition_judge=others.get("composition_judge"),
        metrics=tuple(question.metrics),
        metric_digests=tuple(question.metrics.values()),
        unrelated=question.unrelated,
        probe_control=control.text if control else None,
        probe_control_digest=control_digest,
        probe_adapter=adapter.text if adapter else None,
        probe_adapter_digest=adapter_digest,
        regressions=question.regressions,
        baseline=question.baseline,
        max_probe_minutes=options.max_probe_minutes,
        no_images=options.no_images,
        track=options.track or "",
    )


def _policy(options: Options) -> Policy:
    """The policy, under the profile of the options. Raises UsageError for a profile that does not exist."""
    if options.profile not in PROFILES:
        raise UsageError(f"--profile={options.profile} is no profile", "", f"write {' or '.join(PROFILES)}")
    policy = options.policy if isinstance(options.policy, Policy) else load_policy(options.policy or "standard")
    return policy if options.profile == FIDELITY else replace(policy, sampling=replace(policy.sampling, profile="fast"))


def _composition_judge(options: Options, policy: Policy) -> dict[str, str]:
    """The judge of composition prompts under its name; empty if there is none. Raises LoadError for a judge that will not do."""
    if options.composition_judge is None:
        return {}
    if policy.composition is None:
        raise UsageError(
            f"--composition-judge names a judge, and policy {policy.name!r} makes no claim for it",
            "it has no section [composition]",
            "leave the option out, or choose a policy with that section, such as standard",
        )
    check_prompt_judge(parse_judge(options.composition_judge))
    return {"composition_judge": options.composition_judge}


def _own_prompts(options: Options, policy: Policy) -> tuple[str, ...]:
    """The user's own plain prompts; empty if there are none. Raises UsageError if the policy has no claim on them."""
    if options.unrelated is None:
        return ()
    if policy.unrelated is None:
        raise UsageError(
            f"--unrelated gives plain prompts, and policy {policy.name!r} makes no claim on them",
            "it has no section [unrelated]",
            "leave the option out, or choose a policy with that section, such as standard",
        )
    return read_prompts(expanded(options.unrelated, f"--unrelated={options.unrelated}"))


def _check_needs(policy: Policy, others: dict[str, str]) -> None:
    """Raise UsageError if the policy needs a second judge or weights that the user did not give."""
    if policy.controls.must_agree and "second_judge" not in others:
        raise UsageError(
            f"policy {policy.name!r} requires two judges to agree",
            "no second judge was named",
            "name one: --second-judge=REFERENCE",
        )
    if policy.retention.perceptual != "none":
        from dmun_audit.measures.perceptual import check_perceptual

        check_perceptual(policy.retention.perceptual)


def _weights_to_load(options: Options, policy: Policy, models: Models) -> WeightsToLoad:
    return WeightsToLoad(
        models.candidate,
        models.base,
        models.sources,
        number_format(policy.sampling.dtype),
        options.trust_remote_code,
        store_of(options),
    )


def requests_of(options: Options) -> list[ImageRequest]:
    """The candidate images that an audit with these options may request. `model` is ignored.

    Raises UsageError as `resolve` does, and if the policy does not determine the audit seed.
    """
    refuse_empty(options)
    base = _reference(options.base or f"{references.ATELIER}base")
    headers.cheap_check(base, base)
    if options.target is None and options.knowledge is None:
        raise UsageError("dmun-audit requests needs a target", "", 'add --target="…", or --knowledge=… with a dossier')
    dossier, _ = find_dossier(options, base, base, "atelier" if references.is_atelier(base) else "real")
    require_allowed(dossier.target.name, dossier.target.kind, options.allow_sensitive)
    policy = _policy(options)
    if policy.seeds == "after fingerprint" and options.audit_seed is None:
        raise no_seed_yet(policy)
    policy = replace(policy, sampling=replace(policy.sampling, batch=policy.sampling.batch_size))
    fingerprint = fingerprint_without_candidate(options, policy, dossier.digest())
    return candidate_requests(make_plan(dossier, policy, options.audit_seed or 0, fingerprint, _own_prompts(options, policy)))
