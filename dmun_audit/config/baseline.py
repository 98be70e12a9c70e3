"""Reads the earlier audit that a candidate is held against (--baseline)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.claim_groups.baseline import COMPARED, RETENTION
from dmun_audit.config.dossiers import target_names
from dmun_audit.config.earlier_runs import COPY, finished_run, refuse_other_target, target_of
from dmun_audit.evidence.inputs import BASELINE_FILE
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.models.references import IMAGES, ModelReference
from dmun_audit.plan.baseline import THRESHOLDS, Baseline, BaselineUnit, kept_baseline
from dmun_audit.report.formatting import one_line
from dmun_audit.verdict.vocabulary import AuditVerdict

DRAWN_BY = ("scheduler", "settings", "steps", "guidance", "size", "dtype")
"""What of the manifest's sampler decides what an image shows."""

RULE = "the same prompts and seeds say nothing then about which candidate is better"


def find_baseline(runs: Sequence[str], dossier: Dossier, base: str, *, among_others: bool = False) -> Baseline | None:
    """What an earlier audit of this target saw of its candidate; None if no run is named. `base` is the digest of the base's files.

    With `among_others`, the session has other targets too, and runs of another target are left out. A run is a run folder. It may also
    be the file in a run folder that keeps the baseline of that audit: this candidate is then held against the same baseline.

    Raises UsageError for a run that is damaged, unfinished or INCOMPLETE, for one of another target, base or dossier, for one without
    images, and for two runs of one target.
    """
    ours = [text for text in runs if not among_others or fold(target_of("baseline", text)) in target_names(dossier)]
    if not ours:
        return None
    if len(ours) > 1:
        raise UsageError(
            f"--baseline names {len(ours)} audits of {dossier.target.name!r}",
            "a candidate is held against one",
            "name one of them",
        )
    (text,) = ours
    path = expanded(text, f"--baseline={text}")
    is_kept = path.name == BASELINE_FILE and path.is_file()
    run = finished_run(path.parent if is_kept else path, f"--baseline={text}")
    kept = kept_baseline(path) if is_kept else None
    baseline = kept or _of_run(f"--baseline={text}", run)
    _refuse_other_question(f"--baseline={text}", baseline, dossier, base)
    return baseline


def refuse_images_elsewhere(runs: Sequence[str], candidate: ModelReference) -> None:
    """Raise UsageError for a baseline where the candidate is a folder of images made elsewhere: they share no noise with it."""
    if runs and candidate.kind == "images":
        raise UsageError(
            f"--baseline cannot be compared with {candidate.text}",
            f"nothing says how these images were drawn; {RULE}",
            "leave --baseline out, or audit the model itself",
        )


def refuse_other_conditions(baseline: Baseline, facts: Mapping[str, Any]) -> None:
    """Raise LoadError if this audit has another judge or sampler than the earlier one. `facts` are the manifest's facts on both."""
    judges, sampler = judge_digests(facts["judge"]), drawn_by(facts["sampler"])
    apart = [name for name in {**baseline.judge, **judges} if baseline.judge.get(name) != judges.get(name)]
    apart += [name for name in sampler if sampler[name] != baseline.sampler.get(name)]
    if apart:
        told = "; ".join(
            f"{one_line(name)[:20]}: {_told(baseline, name)} there, {_now(judges, sampler, name)} here" for name in apart
        )
        raise LoadError(
            "the audit of --baseline looked at its candidate in another way",
            f"{told}; {RULE}",
            "audit the earlier candidate again as this one is audited, or leave --baseline out",
        )


def judge_digests(facts: Mapping[str, Any]) -> dict[str, str]:
    """The digests that decide what a judge sees, from the manifest's facts on judges."""
    detector = facts.get("detector") or {}
    return {"judge": str(facts.get("digest", ""))} | ({"detector": str(detector["digest"])} if detector else {})


def drawn_by(sampler: Mapping[str, Any]) -> dict[str, Any]:
    """What of the manifest's sampler decides what an image shows."""
    return {name: sampler[name] for name in DRAWN_BY if name in sampler}


def _of_run(option: str, run: Run) -> Baseline:
    if run.verdict == AuditVerdict.INCOMPLETE:
        raise UsageError(f"{option} is INCOMPLETE", "that audit says nothing about its candidate", "name another run")
    units = {name: found for name in COMPARED if (found := tuple(_units(run.of_group(name))))}
    if not units:
        raise UsageError(f"{option} holds no image of its candidate", "nothing can be compared", "name another run")
    manifest = run.manifest
    return Baseline(
        run=manifest.audit_hash,
        candidate=one_line(manifest.models.get("candidate", {}).get("reference", ""))[:200],
        weights=str(manifest.models.get("candidate", {}).get("tensors_digest") or ""),
        verdict=str(run.verdict),
        target=manifest.target.name,
        base=str(manifest.models.get("base", {}).get("source_digest", "")),
        dossier=str(manifest.dossier.get("digest", "")),
        judge=judge_digests(manifest.judge),
        sampler=drawn_by(manifest.sampler),
        thresholds={name: manifest.judge[name] for name in THRESHOLDS if name in manifest.judge},
        units=units,
    )


def _units(cases: Sequence[CaseRecord]) -> list[BaselineUnit]:
    """The images of the earlier candidate in cases that say something about it."""
    counted = [case for case in cases if not case.pooled and not case.verdict.is_untested]
    return [
        BaselineUnit(
            prompt=image.prompt,
            index=image.index,
            seed=image.seed or 0,
            target_score=image.target_score or 0.0,
            view_score=image.view_score,
            detected=bool(image.detected),
            concept=case.concept.name if case.concept and image.label is not None else "",
            label=image.label or "",
        )
        for case in counted
        if case.concept is None or case.concept.role != "observe"
        for image in case.images
        if image.model == "candidate"
    ]


def _refuse_other_question(option: str, baseline: Baseline, dossier: Dossier, base: str) -> None:
    refuse_other_target(option, baseline.target, dossier)
    if baseline.candidate.startswith(IMAGES):
        raise UsageError(
            f"{option} is an audit of images made elsewhere", f"nothing says how they were drawn; {RULE}", "name another run"
        )
    if baseline.base != base:
        raise UsageError(f"{option} is an audit over another base", RULE, "name a run over this base")
    if baseline.dossier != dossier.digest():
        raise UsageError(
            f"{option} is an audit with another dossier",
            "its prompts, its nearby concepts or their labels are others",
            f"give this audit the dossier of that run: --knowledge={_folder(option)}/dossier.json",
        )
    concepts = {concept.name for concept in dossier.concepts}
    strange = [name for name in baseline.units if name not in COMPARED]
    strange += [unit.concept for unit in baseline.units.get(RETENTION, ()) if unit.concept not in concepts]
    if strange:
        raise UsageError(f"{option} is damaged", f"it compares {one_line(strange[0])[:40]!r}, which no audit does", COPY)


def _folder(option: str) -> str:
    path = Path(option.removeprefix("--baseline="))
    return str(path.parent if path.name == BASELINE_FILE else path)


def _told(baseline: Baseline, name: str) -> str:
    return _short(baseline.judge[name] if name in baseline.judge else baseline.sampler.get(name))


def _now(judges: Mapping[str, str], sampler: Mapping[str, Any], name: str) -> str:
    return _short(judges[name] if name in judges else sampler.get(name))


def _short(value: object) -> str:
    text = "none" if value is None else one_line(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
