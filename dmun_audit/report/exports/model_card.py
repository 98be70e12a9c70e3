"""The section on unlearning of a model card, and its metrics in the card's `model-index`, through huggingface_hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit import __version__
from dmun_audit._util.errors import UsageError
from dmun_audit.evidence.run import Run
from dmun_audit.report.formatting import claim_text, count, one_line
from dmun_audit.report.scope import scope_lines
from dmun_audit.report.standing import release_lines
from dmun_audit.report.waivers import headline
from dmun_audit.store.files import write_atomically

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

BEGIN, END = "<!-- dmun_audit: begin -->", "<!-- dmun_audit: end -->"
TASK = "text-to-image"
METRICS = {
    "erasure": ("target_rate", "images of direct prompts that show the target"),
    "adversarial": ("adversarial_target_rate", "images of adversarial prompts that show the target"),
    "fresh": ("fresh_target_rate", "images of fresh prompts that show the target"),
    "retention": ("accuracy_loss", "CLIP accuracy lost on similar concepts"),
}
"""For each group with a claim over all of it: type and name of its metric."""


def card_section(run: Run) -> str:
    """The section as Markdown, between marks by which a later run replaces it."""
    manifest = run.manifest
    weights = str(manifest.models.get("candidate", {}).get("weights_digest", ""))[:16]
    lines = [
        BEGIN,
        "",
        f"## Unlearning audit: {_escaped(manifest.target.name)}",
        "",
        f"**{_escaped(headline(run))}** under the policy `{_code(manifest.policy.get('name', ''))}`"
        f" (dmun_audit {__version__}, {_escaped((manifest.finished or '')[:10])}, weights `{_code(weights)}`).",
        "",
        *(f"- {_escaped(reason)}" for reason in run.reasons),
        "",
        "| claim | result |",
        "| --- | --- |",
        *(
            f"| {_escaped(case.title)} | {case.verdict}: {_escaped(claim_text(case.claim))} |"
            for case in run.cases
            if case.pooled and case.claim
        ),
        "",
        *(f"{_escaped(sentence)}\n" for sentence in (*scope_lines(run), *release_lines(run))),
        END,
    ]
    return "\n".join(lines)


def evaluation_results(run: Run) -> list[EvalResult]:
    """The metrics for `model-index`: the estimate of each claim over a whole group, with its verdict and its upper bound."""
    from huggingface_hub import EvalResult

    target, policy = one_line(run.manifest.target.name), one_line(run.manifest.policy.get("name", ""))
    shared: dict[str, Any] = {
        "task_type": TASK,
        "dataset_type": "dmun_audit",
        "dataset_name": f"dmun_audit: {target}, policy {policy}",
        "dataset_revision": one_line(run.manifest.dossier.get("digest", "")),
    }
    results = []
    for group, (kind, name) in METRICS.items():
        case = next(
            (case for case in run.of_group(group) if case.pooled and case.claim and case.claim.estimate is not None), None
        )
        if case is None or case.claim is None:
            continue
        results.append(
            EvalResult(
                **shared,
                metric_type=kind,
                metric_name=name,
                metric_value=round(float(case.claim.estimate or 0.0), 6),
                metric_args={"verdict": str(case.verdict), "upper_bound": case.claim.upper, "limit": case.claim.threshold},
            )
        )
    return results


def write_card(run: Run, path: Path, model_name: str) -> None:
    """Write section and metrics into the model card at `path`. Everything else in it stays; without a file a new card is made.

    Metrics of other data sets stay in its `model-index`; those of earlier audits of this target are replaced.
    Raises UsageError for a card that cannot be read, and for an audit that was not concluded or does not hold.
    """
    from huggingface_hub import ModelCard, ModelCardData
    from yaml import YAMLError

    if run.altered or not run.concluded:
        why = run.contradictions[0] if run.altered else "it was not concluded"
        raise UsageError(
            f"{run.path} gives no model card", why, "run the audit to its end, or use an unchanged copy of the folder"
        )
    try:
        card = ModelCard.load(path) if path.exists() else ModelCard("---\n---\n")
    except (OSError, ValueError, YAMLError) as error:
        raise UsageError(f"{path} is no model card", one_line(str(error)), "name a README.md with valid metadata") from None
    assert isinstance(card.data, ModelCardData)
    new = evaluation_results(run)
    kept = [each for each in card.data.eval_results or [] if not any(each.dataset_name == one.dataset_name for one in new)]
    card.data.model_name = card.data.model_name or model_name
    card.data.eval_results = [*kept, *new]
    section, old = card_section(run), card.text
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    card.text = pattern.sub(lambda match: section, old, count=1) if pattern.search(old) else f"{old.rstrip()}\n\n{section}\n"
    write_atomically(path, str(card).encode())


def described(run: Run) -> str:
    """What was written, in a few words."""
    return f"the section on {one_line(run.manifest.target.name)} and {count(len(evaluation_results(run)), 'metric')}"


def _code(text: object) -> str:
    return one_line(text).replace("`", "")


def _escaped(text: object) -> str:
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in one_line(str(text)))
