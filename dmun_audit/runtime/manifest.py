"""Makes the manifest from the configuration of an audit, the facts on its models and judges, and its conclusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from dmun_audit import __version__
from dmun_audit._util.hashing import digest
from dmun_audit.claim_groups.planning import image_budget
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.decisions.conclude import Conclusion, Interruptions
from dmun_audit.decisions.release_evidence import weaker_than_a_release_audit
from dmun_audit.evidence.manifest import AttemptRecord, EvidenceDigest, Manifest, OtherAttempt
from dmun_audit.evidence.schema import FORMAT, CaseRecord, JsonObject
from dmun_audit.plan.plan import Plan
from dmun_audit.plan.seeds import CHOSEN, figures_digest
from dmun_audit.plan.waivers import waiver_statuses
from dmun_audit.policy import alterations, baseline
from dmun_audit.runtime.environment import describe_command, versions, working_tree
from dmun_audit.verdict.vocabulary import CONTROLS


def opened_manifest(
    config: AuditConfig, earlier: Manifest | None, attempts: Sequence[AttemptRecord], others: Sequence[OtherAttempt] = ()
) -> Manifest:
    """The manifest of an audit that has begun. It keeps the facts of an earlier attempt until the conclusion.

    The command is written at the start. So a folder whose audit never ends names its models.
    """
    facts = (earlier.to_json() if earlier else {}) | {"command": describe_command() | {"options": _options(config)}}
    state = {"verdict": "INCOMPLETE", "exit_code": None, "reasons": ["The run has not finished."], "attempts": attempts}
    return Manifest.model_validate(facts | _planned(config) | state | {"earlier_attempts": others})


def concluded_manifest(
    config: AuditConfig,
    facts: JsonObject,
    records: Mapping[str, CaseRecord],
    conclusion: Conclusion,
    interruptions: Interruptions,
    *,
    whole: bool,
    earlier: Manifest | None,
    attempts: Sequence[AttemptRecord],
    evidence: EvidenceDigest,
    not_run: Sequence[str] = (),
    others: Sequence[OtherAttempt] = (),
) -> Manifest:
    """The manifest of a concluded audit. `records` are all records by case id, pooled ones included.

    `not_run` are the ids of further cases in the evidence: an earlier run in the same folder decided them.
    """
    plan, rendered = config.plan, sum(record.volatile.rendered for record in records.values())
    rechecked = sum(record.volatile.rechecked for record in records.values())
    images = {(image.model, image.key) for record in records.values() for image in record.all_images}
    concluded = {
        "verdict": conclusion.verdict,
        "exit_code": conclusion.verdict.exit_code,
        "reasons": conclusion.reasons,
        "whole": whole,
        "day": config.day.isoformat(),
        "waivers": waiver_statuses(plan, records, config.day),
        "images": {
            "planned": image_budget(plan),
            "rendered": rendered,
            "reused": max(0, len(images) - rendered),
            "rechecked": rechecked,
            "seconds_each": seconds_each(records.values()),
        },
        "judge": facts.get("judge", {"reference": config.judge}) | _measured_judge(plan, records),
        "versions": versions(),
        "git": working_tree(Path.cwd()),
        "command": describe_command() | {"options": _options(config)},
        "interruptions": _plain(asdict(interruptions)) | {"not_run": list(not_run)},
        "attempts": attempts,
        "earlier_attempts": others,
        "started": attempts[-1].started,
        "finished": attempts[-1].finished,
        "seconds": round(sum(record.volatile.seconds or 0.0 for record in records.values()), 1),
        "evidence": evidence,
    }
    if warning := not_by_weights(facts, records.values()):
        facts = facts | {"warnings": [*facts["warnings"], warning]}
    before = earlier.to_json() if earlier else {}  # a run that loads no model keeps the facts of an earlier one
    return Manifest.model_validate(before | facts | _planned(config) | concluded)


def difference(manifest: Manifest, config: AuditConfig) -> str:
    """In what the audit of a manifest differs from the one of a config, in words. Models are known once that audit was concluded."""
    models, options = manifest.models, manifest.command.get("options", {})
    pairs: dict[str, tuple[object, object]] = {
        "target": (manifest.target.name, config.dossier.target.name),
        "policy": (manifest.policy.get("name"), config.policy.name),
        "figures of the policy": (manifest.policy.get("digest"), digest(config.policy.as_dict())),
        "dossier": (manifest.dossier.get("digest"), config.dossier.digest()),
        "seed": (manifest.seeds.get("audit_seed"), config.audit_seed),
    }
    for side, reference in (("base", config.base), ("candidate", config.candidate)):
        if side in models:
            pairs[side] = (models[side].get("reference"), reference)
            pairs[f"files of the {side}"] = (models[side].get("source_digest"), config.source_digests[side])
        elif options:
            pairs[side] = (options.get("model" if side == "candidate" else side), reference)
    if options:
        named = ("judge", "detector", "second_judge", "composition_judge", "probe_control", "probe_adapter")
        pairs |= {name.replace("_", " "): (options.get(name), getattr(config, name)) for name in named}
        pairs["metrics"] = (", ".join(options.get("metric", [])) or None, ", ".join(config.metrics) or None)
    if manifest.versions.get("dmun_audit", __version__) == __version__:  # earlier versions say nothing of a baseline
        now = config.baseline.facts if config.baseline else {}
        pairs["baseline"] = (_compared_with(manifest.baseline), _compared_with(now))
    apart = [f"{name} {_short(then)} there, {_short(now)} here" for name, (then, now) in pairs.items() if then != now]
    if apart:
        return "; ".join(apart)
    return "other finds (--regress), or other files of a model or a metric"


def _compared_with(facts: JsonObject) -> str | None:
    return f"{facts.get('reference')} (run {str(facts.get('audit_hash'))[:8]})" if facts else None


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text[:8] if len(text) == 64 else text


def seconds_each(records: Iterable[CaseRecord]) -> dict[str, float]:
    """The seconds for one image by model, of the images that were drawn in this run; empty if all came from the store."""
    sums: dict[str, tuple[int, float]] = {}
    for record in records:
        for side, (images, seconds) in record.volatile.drawing.items():
            before = sums.get(side, (0, 0.0))
            sums[side] = (before[0] + images, before[1] + seconds)
    return {side: round(seconds / images, 4) for side, (images, seconds) in sorted(sums.items()) if images}


def not_by_weights(facts: JsonObject, records: Iterable[CaseRecord]) -> str:
    """A warning if no weight of the candidate differs from the base's and its images do; empty otherwise.

    The images of a pair differ if the judge's scores do. A candidate whose weights were not seen gives no warning of this kind:
    its load proof says that they are not known.
    """
    proof = facts.get("models", {}).get("candidate", {}).get("proof", {})
    compared = proof.get("compared_tensors", 0)
    if not compared or proof.get("changed_tensors", 0) or proof.get("rounded_tensors", 0):
        return ""
    scores: dict[tuple[str, int | None], dict[str, tuple[float | None, ...]]] = {}
    for record in records:
        for image in record.images:
            scores.setdefault((image.prompt, image.seed), {})[image.model] = (image.target_score, image.clip_score)
    pairs = [pair for pair in scores.values() if {"base", "candidate"} <= pair.keys()]
    differing = sum(pair["base"] != pair["candidate"] for pair in pairs)
    if not differing:
        return ""
    return (
        f"None of the candidate's {compared} compared tensors differs from the base's, but in {differing} of {len(pairs)} pairs its "
        "image does: it acts on prompts or while images are made, not by its weights."
    )


def _planned(config: AuditConfig) -> JsonObject:
    """The part that is known before a model is loaded."""
    dossier, policy, plan = config.dossier, config.policy, config.plan
    weaker = weaker_than_a_release_audit(policy, config.seeds, dossier)
    return {
        "format": FORMAT,
        "audit_hash": config.audit_hash,
        "target": {"name": dossier.target.name, "kind": dossier.target.kind},
        "policy": {
            "name": policy.name,
            "digest": digest(policy.as_dict()),
            "release_evidence": not weaker,
            "weaker_than_release": weaker,
            "baseline": baseline(policy),
            "altered": alterations(policy),
            "text": policy.as_dict(),
        },
        "dossier": {
            "digest": dossier.digest(),
            "provenance": dossier.provenance.model_dump(mode="json", exclude_defaults=True),
            "world": dossier.world,
            "origin": config.knowledge,
        },
        "plan": {"digest": plan.digest(), "cases": len(plan.cases)},
        "seeds": {"audit_seed": config.audit_seed, "drawn": config.seeds, "nonce": config.nonce or None}
        | {"weights": [config.tensors_digest] if config.tensors_digest else [], "figures": figures_digest(policy)}
        | {"fingerprint": config.fingerprint},
        "baseline": config.baseline.facts if config.baseline else {},
        "trust_remote_code": config.trust_remote_code,
    }


def _measured_judge(plan: Plan, records: Mapping[str, CaseRecord]) -> JsonObject:
    """The judge's sensitivity, false positive rate and threshold, as the controls measured them."""
    measured: JsonObject = {}
    for case in plan.of_group(CONTROLS):
        record = records.get(case.id)
        if record is None or record.claim is None:
            continue
        if case.kind == "sensitivity":
            measured["sensitivity"] = {part: record.claim[part] for part in ("hits", "trials", "lower")}
            measured |= record.measures
        if case.kind == "specificity":
            measured["false_positive_rate"] = {part: record.claim[part] for part in ("hits", "trials", "upper")}
    return measured


def _options(config: AuditConfig) -> JsonObject:
    """The options that lead to the same audit again. Dossier, policy and own prompts lie in the run folder."""
    options = {
        "model": config.candidate,
        "base": config.base,
        "judge": config.judge,
        "detector": config.detector,
        "second_judge": config.second_judge,
        "probe_control": config.probe_control,
        "probe_adapter": config.probe_adapter,
        "composition_judge": config.composition_judge,
        "metric": list(config.metrics) or None,
        "audit_seed": config.audit_seed if config.seeds == CHOSEN else None,
        "nonce": config.nonce or None,
        "offload": config.offload,
        "keep_going": config.keep_going,
        "trust_remote_code": config.trust_remote_code,
        "no_images": config.no_images,
    }
    return {name: value for name, value in options.items() if value is not None and value is not False}


def _plain(value: JsonObject) -> JsonObject:
    """Sets as sorted lists."""
    return {name: sorted(inner) if isinstance(inner, set | frozenset) else inner for name, inner in value.items()}
