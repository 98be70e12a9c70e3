"""The head of a run: what is audited against what, and by which rules."""

from __future__ import annotations

from dmun_audit.claim_groups.planning import image_budget
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.plan.waivers import announce
from dmun_audit.policy import alterations, baseline


def describe(config: AuditConfig) -> list[str]:
    """Lines on models, judges, policy, knowledge, and on what the reader must know before the audit begins."""
    target, policy = config.dossier.target.name, config.policy.name
    lines = [
        f"dmun_audit: is {target} gone from {config.candidate}, and is everything around it still there?",
        f"  base {config.base} · {_judges(config)} · policy {policy}"
        f" · up to {image_budget(config.plan):,} images · audit seed {config.audit_seed}",
        f"  knowledge: {config.knowledge}",
    ]
    lines += ["  " + line for line in shortfalls(config.plan)]
    if config.by_default:
        lines.append("  no --model given: this audits the atelier, a small world that ships with the package")
    lines += [f"  {line}" for line in announce(config.plan, config.day)]
    if changes := alterations(config.policy):
        built_in = baseline(config.policy)
        lines.append(f"  policy {policy} differs from the built-in policy {built_in}: {', '.join(changes)}")
    if not config.policy.release_evidence:
        lines.append(f"  policy {policy} is a quick look and no release evidence")
    return lines


def _judges(config: AuditConfig) -> str:
    named = {"judge": config.judge, "detector": config.detector, "second judge": config.second_judge}
    return " · ".join(f"{role} {reference}" for role, reference in named.items() if reference)
