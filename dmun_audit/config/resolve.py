"""Resolves the options of an audit: references, dossier, policy, plan. Loads no torch, so that collection stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, seed_of, slug
from dmun_audit._util.paths import expanded
from dmun_audit.claim_groups.planning import candidate_requests, make_plan
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.dossiers import find_dossier
from dmun_audit.config.options import Options, refuse_empty, store_of
from dmun_audit.judge.kinds import check_judge, check_others, parse_judge
from dmun_audit.judge.prompt_judge import check_prompt_judge
from dmun_audit.judge.reference import ATELIER_JUDGE
from dmun_audit.knowledge.dossier import World
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.plain_prompts import read_prompts
from dmun_audit.models import headers, references
from dmun_audit.models.source_files import Source, read_source
from dmun_audit.plan.case import ImageRequest
from dmun_audit.policy import Policy, load_policy

REAL_JUDGE = "open_clip:ViT-B-32/laion2b_s34b_b79k"


@dataclass(frozen=True)
class Models:
    """The two models of an audit. They do not depend on the target. `by_default`: whether the user named no candidate."""

    base: references.ModelReference
    candidate: references.ModelReference
    by_default: bool
    world: World

    @cached_property
    def files(self) -> dict[str, Source]:
        """The files of both models, read once: reading gigabytes is slow."""
        return {"base": read_source(self.base), "candidate": read_source(self.candidate)}

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


def resolve(options: Options, models: Models | None = None) -> AuditConfig:
    """Resolve everything that can be resolved without loading a model. Raises UsageError for bad input.

    `models` are the models of the same options, if they are already known.
    """
    refuse_empty(options)
    models = models or find_models(options)
    dossier, knowledge = find_dossier(options, models.candidate, models.base, models.world)
    require_allowed(dossier.target.name, dossier.target.kind, options.allow_sensitive)
    policy = _policy(options)
    judge = options.judge or (ATELIER_JUDGE if dossier.world == "atelier" else REAL_JUDGE)
    check_judge(judge)
    others = check_others(judge, options.detector, options.second_judge)
    others |= _composition_judge(options, policy)
    _check_needs(policy, others)
    seed, seeds = _audit_seed(options, policy, models)
    fingerprint = "" if models.candidate.kind == "images" else models.sources["candidate"]
    unrelated = _own_prompts(options, policy)
    plan = make_plan(dossier, policy, seed, fingerprint, unrelated)
    if models.candidate.kind == "images":
        from dmun_audit.models.external_images import ImageFolder

        folder = ImageFolder(models.candidate)
        folder.expect((request.prompt, request.seed) for request in candidate_requests(plan))
        folder.refuse_repeats()
    audit_hash = digest([plan.digest(), models.sources, judge, *([others] if others else [])])
    root = Path(options.root)
    name = f"{slug(dossier.target.name)}-{slug(models.candidate.text)}-{audit_hash[:8]}"
    return AuditConfig(
        base=models.base.text,
        candidate=models.candidate.text,
        judge=judge,
        dossier=dossier,
        knowledge=knowledge,
        policy=policy,
        audit_seed=seed,
        seeds=seeds,
        audit_hash=audit_hash,
        run_folder=expanded(options.audit_dir, f"--audit-dir={options.audit_dir}")
        if options.audit_dir
        else root / "audit-runs" / name,
        store_folder=store_of(options),
        source_digests=models.sources,
        source_states={side: source.state for side, source in models.files.items()},
        by_default=models.by_default,
        trust_remote_code=options.trust_remote_code,
        plan=plan,
        fingerprint=fingerprint,
        keep_going=options.keep_going,
        detector=others.get("detector"),
        second_judge=others.get("second_judge"),
        composition_judge=others.get("composition_judge"),
        unrelated=unrelated,
    )


def _policy(options: Options) -> Policy:
    return options.policy if isinstance(options.policy, Policy) else load_policy(options.policy or "standard")


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


def _audit_seed(options: Options, policy: Policy, models: Models) -> tuple[int, str]:
    if options.audit_seed is not None:
        return options.audit_seed, "option"
    if policy.seeds == "after fingerprint":
        if models.candidate.kind in {"images", "hook"}:
            raise _no_seed_yet(policy)
        return seed_of("audit", models.sources["candidate"]) % 2**31, "after fingerprint"
    return 0, "policy"


def _no_seed_yet(policy: Policy) -> UsageError:
    return UsageError(
        f"policy {policy.name!r} draws its seeds after the candidate's fingerprint is known",
        "these images do not come from files that have a fingerprint",
        "agree on a seed that the provider of the images does not choose, and give it as --audit-seed (also to dmun-audit requests)",
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
        raise _no_seed_yet(policy)
    return candidate_requests(make_plan(dossier, policy, options.audit_seed or 0, unrelated=_own_prompts(options, policy)))
