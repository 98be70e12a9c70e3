"""The section on unlearning of a model card, and its metrics in the card's `model-index`, in the form of huggingface_hub.

Only the section and the key `model-index` of a card are written. Everything else in it stays as it is, letter by letter.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit.evidence.run import Run
from dmun_audit.report.baseline import baseline_lines
from dmun_audit.report.formatting import claim_text, count, markdown, one_line
from dmun_audit.report.scope import scope_lines
from dmun_audit.report.standing import release_lines
from dmun_audit.report.waivers import headline
from dmun_audit.store.files import write_atomically

DATASET = "dmun_audit"
METRICS = {
    "erasure": ("target_rate", "images of direct prompts that show the target"),
    "adversarial": ("adversarial_target_rate", "images of adversarial prompts that show the target"),
    "fresh": ("fresh_target_rate", "images of fresh prompts that show the target"),
    "retention": ("accuracy_loss", "CLIP accuracy lost on similar concepts"),
}
"""For each group with a claim over all of it: type and name of its metric."""

_HEADER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_INDEX = re.compile(r"^model-index:.*?(?=^[^\s-]|\Z)", re.DOTALL | re.MULTILINE)  # up to the next key or comment of the header


def card_section(run: Run) -> str:
    """The section as Markdown, between marks by which a later run for the same target replaces it.

    Raises UsageError for an audit that was not concluded or does not hold.
    """
    _require_result(run)
    manifest, (begin, end) = run.manifest, _marks(run)
    weights = _weights(run)
    policy, version = (
        one_line(manifest.policy.get("name", "")).replace("`", ""),
        one_line(manifest.versions.get("dmun_audit", "")),
    )
    lines = [
        begin,
        "",
        f"## Unlearning audit: {markdown(manifest.target.name)}",
        "",
        f"**{markdown(headline(run))}** under the policy `{policy}`"
        f" (dmun_audit {markdown(version)}, {markdown((manifest.finished or '')[:10])}, weights `{weights}`).",
        "",
        *(f"- {markdown(sentence)}" for sentence in (*run.reasons, *baseline_lines(run))),
        "",
        "| claim | result |",
        "| --- | --- |",
        *(
            f"| {markdown(case.title)} | {case.verdict}: {markdown(claim_text(case.claim))} |"
            for case in run.cases
            if case.pooled and case.claim
        ),
        "",
        *(f"{markdown(sentence)}\n" for sentence in (*scope_lines(run), *release_lines(run))),
        end,
    ]
    return "\n".join(lines)


def evaluation_results(run: Run) -> list[dict[str, Any]]:
    """The entry of `model-index` for this target and policy: the verdict, and the estimate of each claim over a whole group."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    target, policy = one_line(run.manifest.target.name), one_line(run.manifest.policy.get("name", ""))
    shared: dict[str, Any] = {
        "task_type": "text-to-image",
        "dataset_type": DATASET,
        "dataset_name": f"dmun_audit: {target}, policy {policy}",
        "dataset_config": _configuration(run),
        "dataset_revision": one_line(run.manifest.dossier.get("digest", "")),
    }
    found = [EvalResult(**shared, metric_type="audit_verdict", metric_name="verdict of the audit", metric_value=headline(run))]
    for group, (kind, name) in METRICS.items():
        case = next(
            (case for case in run.of_group(group) if case.pooled and case.claim and case.claim.estimate is not None), None
        )
        if case is None or case.claim is None:
            continue
        limits = {"verdict": str(case.verdict), "upper_bound": case.claim.upper, "limit": case.claim.threshold}
        value = round(float(case.claim.estimate or 0.0), 6)
        found.append(EvalResult(**shared, metric_type=kind, metric_name=name, metric_value=value, metric_args=limits))
    (entry,) = eval_results_to_model_index("model", found)
    results: list[dict[str, Any]] = entry["results"]
    return results


def write_card(run: Run, path: Path, model_name: str, *, replace: bool = False) -> Literal["created", "updated"]:
    """Write section and metrics into the model card at `path`; without a file a new card is made. Returns which of both was done.

    Metrics of other data sets, models, targets and policies stay in `model-index`. `model_name` is the entry that gets the new ones,
    if the card has no entry or several. An audit of other weights for the same target is replaced with `replace` alone.

    Raises UsageError for a card that cannot be read, for one with an audit of other weights, and for an audit without a result.
    """
    section, exists = card_section(run), path.exists()
    try:
        text = path.read_bytes().decode() if exists else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no model card", one_line(str(error)), "name a README.md in UTF-8") from None
    found = _HEADER.match(text)
    header, body = (found[1], text[found.end() :]) if found else ("", text)
    if not replace:
        _refuse_other_weights(run, body, path)
    others = f"{one_line(run.manifest.target.name)}, " if replace else ""  # audits of the replaced weights under other policies
    header = _with_metrics(header, evaluation_results(run), model_name, path, others)
    write_atomically(path, f"---\n{header}---\n{_with_section(body, section, _marks(run))}".encode())
    return "updated" if exists else "created"


def _weights(run: Run) -> str:
    """The first digits of the digest of the candidate's weights, as the section shows them."""
    return one_line(run.manifest.models.get("candidate", {}).get("weights_digest", ""))[:16].replace("`", "")


def _refuse_other_weights(run: Run, body: str, path: Path) -> None:
    """Raise UsageError if the card has an audit of other weights for this target: it may be the card of another model."""
    begin, end = map(re.escape, _marks(run))
    earlier = re.search(rf"{begin}.*?\bweights `([^`\n]*)`.*?{end}", body, re.DOTALL)
    if earlier and earlier[1] != _weights(run):
        raise UsageError(
            f"{path} has an audit of other weights, {one_line(earlier[1])}",
            f"this run is of the weights {_weights(run)}: it may be another model",
            "check the card; if its model has these weights now, add --replace",
        )


def described(run: Run) -> str:
    """What was written, in a few words."""
    metrics = sum(len(result["metrics"]) for result in evaluation_results(run))
    return f"the section on {one_line(run.manifest.target.name)} and {count(metrics, 'metric')}"


def _require_result(run: Run) -> None:
    stopped = one_line(run.manifest.interruptions.get("stopped") or "")
    if run.altered or not run.concluded or stopped or not run.cases:
        why = f"it was stopped early: {stopped}" if stopped else "it was not concluded" if not run.concluded else "it has no case"
        why = run.contradictions[0] if run.altered else why
        raise UsageError(
            f"{run.path} gives no model card", why, "run the audit to its end, or use an unchanged copy of the folder"
        )


def _configuration(run: Run) -> str:
    return f"{one_line(run.manifest.target.name)}, {one_line(run.manifest.policy.get('name', ''))}"


def _marks(run: Run) -> tuple[str, str]:
    """The comments around the section of a target."""
    target = one_line(run.manifest.target.name)
    name = f"{slug(target)}-{digest(target)[:8]}"
    return f"<!-- dmun_audit {name}: begin -->", f"<!-- dmun_audit {name}: end -->"


def _with_section(body: str, section: str, marks: tuple[str, str]) -> str:
    pattern = re.compile(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", re.DOTALL)
    if pattern.search(body):
        return pattern.sub(lambda match: section, body, count=1)
    return f"{body.rstrip()}\n\n{section}\n" if body.strip() else f"\n{section}\n"


def _with_metrics(header: str, new: list[dict[str, Any]], model_name: str, path: Path, others: str = "") -> str:
    """The header with these results in `model-index`, and every other line as it was.

    Our results whose configuration begins with `others` go, if it is not empty.
    """
    import yaml

    try:
        values = yaml.safe_load(header) or {}
        index = values.get("model-index") or [] if isinstance(values, dict) else None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no model card", one_line(str(error)), "mend the YAML between the lines ---") from None
    if not isinstance(index, list) or not all(isinstance(entry, dict) for entry in index):
        raise UsageError(
            f"{path} is no model card",
            "its header, or model-index in it, has another form",
            "mend the YAML between the lines ---",
        )
    entry = index[0] if len(index) == 1 else next((each for each in index if each.get("name") == model_name), None)
    if entry is None:
        entry = {"name": model_name, "results": []}
        index = [*index, entry]
    ours = {(result["dataset"]["type"], result["dataset"].get("config")) for result in new}
    kept = [result for result in entry.get("results") or [] if _data_set(result) not in ours and not _is_of(result, others)]
    entry["results"] = [*kept, *new]
    block = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True)
    rest = _INDEX.sub("", header)
    changed = f"{rest.rstrip()}\n{block}" if rest.strip() else block
    try:
        held = yaml.safe_load(changed) == {**values, "model-index": index}
    except yaml.YAMLError:
        held = False
    if not held:
        raise UsageError(
            f"{path} cannot be changed",
            "its model-index is written in an unusual way",
            "write it in block style, without comments inside",
        )
    return changed


def _is_of(result: Any, others: str) -> bool:
    """Whether a result is one of ours whose configuration begins with `others`."""
    kind, configuration = _data_set(result)
    return bool(others) and kind == DATASET and str(configuration).startswith(others)


def _data_set(result: Any) -> tuple[Any, Any]:
    data = result.get("dataset") if isinstance(result, dict) else None
    return (data.get("type"), data.get("config")) if isinstance(data, dict) else (None, None)
