"""The header of a run: models, judges, policy and knowledge."""

from __future__ import annotations

from collections.abc import Sequence

from dmun_audit.claim_groups.expected import expected_images
from dmun_audit.claim_groups.planning import image_budget
from dmun_audit.claim_groups.probe_planning import probe_budget
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.decisions.release_evidence import weaker_than_a_release_audit
from dmun_audit.plan.plan import Plan
from dmun_audit.plan.seeds import seed_words
from dmun_audit.plan.waivers import waiver_header
from dmun_audit.policy import alterations, baseline, release_sentence
from dmun_audit.report.formatting import one_line
from dmun_audit.store.speeds import read_speed
from dmun_audit.verdict.vocabulary import AuditVerdict


def describe(config: AuditConfig, candidates: Sequence[str] = ()) -> list[str]:
    """Lines on models, judges, policy and knowledge, and warnings before the audit begins.

    `candidates` are the names of the models of which the same is asked, if there are several.
    """
    target, policy = config.dossier.target.name, config.policy.name
    lines = [
        f"dmun_audit: is {target} gone from {' or '.join(candidates) or config.candidate}, and is everything around it still there?",
        f"  base {config.base} · {_judges(config)} · policy {policy}"
        f" · {_images(config.plan)} · {seed_words(config.audit_seed, config.seeds)}",
        f"  knowledge: {config.knowledge}",
    ]
    if config.metrics:
        lines.append(f"  reported besides: {' · '.join(config.metrics)}")
    lines += [f"  {line}" for line in probe_budget(config.plan, read_speed(config.store_folder, config.source_digests["base"]))]
    if config.max_probe_minutes is not None and lines[-1].startswith("  probes"):
        lines[-1] += f" · no row is begun after {config.max_probe_minutes:g} minutes of them in a process"
    if config.regressions:
        finds = sum(len(each.finds) for each in config.regressions)
        lines.append(f"  {finds} finds of earlier audits are tried again, in {len(config.regressions)} cases")
    lines += [f"  {line}" for line in _baseline_lines(config)]
    for place, sentence in enumerate(config.dossier.provenance.thin):
        lines.append(f"    {sentence}" if place else f"  the dossier is thin: {sentence}")
    lines += ["  " + line for line in shortfalls(config.plan)]
    if config.by_default:
        lines.append("  no --model given: this audits the atelier, small demonstration models that ship with the package")
    if config.batch_warning or config.batch_origin:
        size = config.policy.sampling.batch_size
        lines.append(f"  {config.batch_warning or f'{size} images in a batch: {config.batch_origin}'}")
    lines += [f"  {line}" for line in waiver_header(config.plan, config.day)]
    if changes := alterations(config.policy):
        built_in = baseline(config.policy)
        lines.append(f"  policy {policy} differs from the built-in policy {built_in}: {', '.join(changes)}")
    lines.append(f"  {release_sentence(weaker_than_a_release_audit(config.policy, config.seeds, config.dossier))}")
    return lines


def _baseline_lines(config: AuditConfig) -> list[str]:
    """What the candidate is held against, and why that comparison may say little."""
    earlier = config.baseline
    if earlier is None:
        return []
    pairs = sum(map(len, earlier.units.values()))
    lines = [
        f"baseline {earlier.candidate} (run {earlier.run[:8]}): this candidate draws its {pairs} images again, with the same prompts and seeds"
    ]
    if earlier.weights and earlier.weights == config.tensors_digest:
        lines.append("warning: the baseline has the same weights as this candidate, so the comparison can find nothing")
    if earlier.verdict != AuditVerdict.PASS:
        lines.append(
            f"warning: the audit of the baseline ended with {one_line(earlier.verdict)}; being no worse than it proves little"
        )
    return lines


def _images(plan: Plan) -> str:
    """The images that a candidate without a failure needs, and the largest number."""
    expected, most = expected_images(plan), image_budget(plan)
    return f"about {expected:,} images, at most {most:,}" if expected < most else f"up to {most:,} images"


def _judges(config: AuditConfig) -> str:
    judges = {"judge": config.judge, "detector": config.detector, "second judge": config.second_judge}
    judges |= {"composition judge": config.composition_judge}
    return " · ".join(f"{role} {reference}" for role, reference in judges.items() if reference)
