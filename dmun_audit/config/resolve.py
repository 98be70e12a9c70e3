"""From options to a resolved audit: references, dossier, policy, plan. Loads no torch, so that collection stays quick."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import platformdirs

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, seed_of, slug
from dmun_audit.claim_groups.planning import candidate_requests, make_plan
from dmun_audit.judge.kinds import check_judge, check_others
from dmun_audit.judge.reference import ATELIER_JUDGE
from dmun_audit.knowledge.dossier import Dossier, World
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.language_models.reference import names_language_model
from dmun_audit.knowledge.packs import find_pack, open_knowledge
from dmun_audit.knowledge.texts import fold
from dmun_audit.models import headers, references
from dmun_audit.models.source_files import Source, read_source
from dmun_audit.plan.case import ImageRequest
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy, load_policy, policy_from_table

REAL_JUDGE = "open_clip:ViT-B-32/laion2b_s34b_b79k"


@dataclass(frozen=True)
class Options:
    """What a user asked for, of one target; None where the option was not given."""

    target: str | None = None
    model: str | None = None
    base: str | None = None
    knowledge: str | None = None
    policy: str | None = None
    judge: str | None = None
    detector: str | None = None
    second_judge: str | None = None
    audit_dir: str | None = None
    store: str | None = None
    audit_seed: int | None = None
    allow_sensitive: bool = False
    trust_remote_code: bool = False
    ini_base: str | None = None
    root: str = "."


@dataclass(frozen=True)
class AuditConfig:
    """A resolved audit. Equal in every process: the controller builds it and workers get it as JSON.

    `prefix` tells its cases from those of other targets in the same session; it is empty where there is one target.
    `day` (UTC) is that on which waivers are held against their last day: one for the whole session, however long it takes.
    """

    base: str
    candidate: str
    judge: str
    dossier: Dossier
    knowledge: str
    policy: Policy
    audit_seed: int
    seeds: str
    audit_hash: str
    run_folder: Path
    store_folder: Path
    source_digests: dict[str, str]
    by_default: bool
    trust_remote_code: bool
    plan: Plan = field(compare=False)
    prefix: str = ""
    detector: str | None = None
    second_judge: str | None = None
    source_states: dict[str, str] = field(
        default_factory=dict, compare=False
    )  # whether files changed since: `source_files.Source`
    day: date = field(default_factory=lambda: datetime.now(UTC).date(), compare=False)

    def to_json(self) -> str:
        """The setup as JSON, the plan left out: it is made again from the rest."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in {"plan", "dossier", "policy"}}
        values |= {"dossier": self.dossier.model_dump(mode="json"), "policy": asdict(self.policy)}
        return json.dumps(values, default=str)

    @classmethod
    def from_json(cls, text: str) -> AuditConfig:
        """The setup that `to_json` wrote."""
        values = json.loads(text)
        values["dossier"] = Dossier.model_validate_json(json.dumps(values["dossier"]))
        values["policy"] = policy_from_table(values["policy"], Path("the controller's policy"))
        values |= {name: Path(values[name]) for name in ("run_folder", "store_folder")}
        values["day"] = date.fromisoformat(values["day"])
        return cls(**values, plan=make_plan(values["dossier"], values["policy"], values["audit_seed"]))


@dataclass(frozen=True)
class Models:
    """The two models of an audit, whatever its target; `by_default` where the user named no candidate."""

    base: references.ModelReference
    candidate: references.ModelReference
    by_default: bool

    @property
    def world(self) -> World:
        """The world in which the base draws."""
        return "atelier" if references.is_atelier(self.base) else "real"

    @cached_property
    def files(self) -> dict[str, Source]:
        """The files of both models, read once: reading gigabytes is slow."""
        return {"base": read_source(self.base), "candidate": read_source(self.candidate)}

    @property
    def sources(self) -> dict[str, str]:
        """The digests of the files of both models."""
        return {side: source.digest for side, source in self.files.items()}


def find_models(options: Options) -> Models:
    """The models that the options name; raises UsageError where one of them cannot be what it is said to be."""
    candidate = references.parse_reference(options.model or f"atelier:{references.atelier_default()}")
    if options.base is not None:
        base = references.parse_reference(options.base)
    else:
        base = references.default_base(candidate, options.ini_base)
    headers.cheap_check(candidate, base, options.trust_remote_code)
    return Models(base, candidate, by_default=options.model is None)


def resolve(options: Options, models: Models | None = None) -> AuditConfig:
    """Resolve everything that can be resolved without loading a model; raises UsageError for bad input.

    `models` are those of the same options, where they were found before.
    """
    refuse_empty(options)
    models = models or find_models(options)
    dossier, knowledge = _knowledge(options, models)
    require_allowed(dossier.target.name, dossier.target.kind, options.allow_sensitive)
    policy = load_policy(options.policy or "standard")
    judge = options.judge or (ATELIER_JUDGE if dossier.world == "atelier" else REAL_JUDGE)
    check_judge(judge)
    others = check_others(judge, options.detector, options.second_judge)
    _check_needs(policy, others)
    seed, seeds = _audit_seed(options, policy, models)
    plan = make_plan(dossier, policy, seed)
    if models.candidate.kind == "images":
        from dmun_audit.models.external_images import ImageFolder

        ImageFolder(models.candidate).expect((request.prompt, request.seed) for request in candidate_requests(plan))
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
        run_folder=Path(options.audit_dir).expanduser() if options.audit_dir else root / "audit-runs" / name,
        store_folder=Path(options.store).expanduser() if options.store else default_store(),
        source_digests=models.sources,
        source_states={side: source.state for side, source in models.files.items()},
        by_default=models.by_default,
        trust_remote_code=options.trust_remote_code,
        plan=plan,
        detector=others.get("detector"),
        second_judge=others.get("second_judge"),
    )


def _check_needs(policy: Policy, others: dict[str, str]) -> None:
    """Raise where the policy needs what the user has not brought: a second judge, or weights."""
    if policy.controls.must_agree and "second_judge" not in others:
        raise UsageError(
            f"policy {policy.name!r} wants two judges to agree", "no second judge was named", "name one: --second-judge=REFERENCE"
        )
    if policy.retention.perceptual != "none":
        from dmun_audit.measures.perceptual import check_perceptual

        check_perceptual(policy.retention.perceptual)


def refuse_empty(options: Options) -> None:
    """An unset variable in a CI file gives an empty value: it must not turn into the audit of a default."""
    empty = [name for name, value in asdict(options).items() if isinstance(value, str) and not value.strip()]
    if empty:
        spelt = "dmun_base in the ini file" if empty[0] == "ini_base" else "--" + empty[0].replace("_", "-")
        raise UsageError(f"{spelt} is empty", "perhaps a variable is not set", "give it a value, or leave the option out")


def _knowledge(options: Options, models: Models) -> tuple[Dossier, str]:
    """The dossier, and where it comes from in words."""
    if options.knowledge is None:
        dossier = find_pack(_target(options, models.candidate), models.world)
        return dossier, f"a pack that ships, of the {models.world} world"
    if names_language_model(options.knowledge):
        return _asked_for(options, _target(options, models.candidate), models.base, models.world)
    dossier = open_knowledge(options.knowledge)
    if options.target:
        _same_target(options.target, dossier)
    return dossier, options.knowledge


def _asked_for(options: Options, target: str, base: references.ModelReference, world: World) -> tuple[Dossier, str]:
    """The dossier that a language model makes. It is made once and frozen in the store: the next audit asks nothing."""
    from dmun_audit.knowledge.build import Asking, build_dossier, transcript_beside
    from dmun_audit.knowledge.dossier import write_dossier
    from dmun_audit.knowledge.interview.interview import Brief
    from dmun_audit.knowledge.language_models.reference import parse_language_model
    from dmun_audit.knowledge.lengths import counter_of
    from dmun_audit.knowledge.reading import read_dossier

    assert options.knowledge is not None
    reference = parse_language_model(options.knowledge)
    store = Path(options.store).expanduser() if options.store else default_store()
    frozen = store / "dossiers" / f"{slug(target)}-{digest([options.knowledge, fold(target), world, base.text])[:8]}.json"
    if frozen.is_file():
        return read_dossier(frozen), f"{options.knowledge}, frozen in {frozen}"
    brief = Brief(target, world, counter_of(base), allow_sensitive=options.allow_sensitive)
    dossier = build_dossier(brief, Asking(reference, transcript_beside(frozen)), lambda line: print(f"  {line}", flush=True))
    write_dossier(dossier, frozen)
    return dossier, f"{options.knowledge}, now frozen in {frozen}"


def default_store() -> Path:
    """The store in the user's cache folder."""
    return Path(platformdirs.user_cache_dir("dmun_audit")) / "store"


def _target(options: Options, candidate: references.ModelReference) -> str:
    if options.target is not None:
        return options.target
    own = references.atelier_target(candidate)
    if own is None:
        raise UsageError(
            f"--model={candidate.text} does not say what was unlearned", "", 'add --target="…", for instance --target="Van Gogh"'
        )
    return own


def asked_by(dossier: Dossier) -> set[str]:
    """The names by which a user may ask for the dossier's target, folded."""
    return {fold(name) for name in (dossier.target.name, *dossier.target.aliases)}


def _same_target(target: str, dossier: Dossier) -> None:
    if fold(target) not in asked_by(dossier):
        names = ", ".join((dossier.target.name, *dossier.target.aliases))
        raise UsageError(
            f"--target={target!r} is not the target of the dossier",
            f"the dossier is about {dossier.target.name!r} ({names})",
            "leave --target out, or give the dossier of that target",
        )


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
        "what makes these images is not in any file that could be fingerprinted",
        "agree on a seed that their maker does not choose, and give it as --audit-seed (to dmun-audit requests too)",
    )


def requests_of(options: Options) -> list[ImageRequest]:
    """The candidate images that an audit with these options may ask for; `model` is not looked at.

    Raises UsageError as `resolve` does, and where the policy leaves the audit's seed open.
    """
    refuse_empty(options)
    base = references.parse_reference(options.base or f"{references.ATELIER}base")
    headers.cheap_check(base, base)
    if options.target is None and options.knowledge is None:
        raise UsageError("requests needs a target", "", 'add --target="…", or --knowledge=… with a dossier')
    dossier, _ = _knowledge(options, Models(base, base, by_default=False))
    require_allowed(dossier.target.name, dossier.target.kind, options.allow_sensitive)
    policy = load_policy(options.policy or "standard")
    if policy.seeds == "after fingerprint" and options.audit_seed is None:
        raise _no_seed_yet(policy)
    return candidate_requests(make_plan(dossier, policy, options.audit_seed or 0))
