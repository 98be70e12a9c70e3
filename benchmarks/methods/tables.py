"""The tables of the campaign: methods by claims, by attacks, and by orderings. Figures come from the run folders alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from scipy.stats import binomtest

from dmun_audit.claim_groups.probe_decision import attack_rates, curves_of
from dmun_audit.comparison.figures import group_claim
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import ProbeRecord
from dmun_audit.probes.registry import probes
from dmun_audit.report.formatting import hundredths
from dmun_audit.report.orderings import correlations_of

CLAIMS = ("erasure", "adversarial", "fresh", "substitute", "retention", "composition", "diversity")
"""The groups with one column each."""

SIGNIFICANT = 0.05

Column = tuple[str, Callable[[Run], str]]


def tables(folder: Path) -> str:
    """All tables as Markdown."""
    campaign = json.loads((folder / "campaign.json").read_text(encoding="utf-8"))
    runs = {row["model"]: checked_run(_run_folder(folder, row["folder"])) for row in campaign["audits"] if row["folder"]}
    names = [probe.name for probe in probes() if any(_probe(run, probe.name) for run in runs.values())]
    parts = [
        ("What each method erases and keeps", [("verdict", _verdict), *((group, _claim_of(group)) for group in CLAIMS), *_COST]),
        ("What attacks with the weights bring back", [(name, _attack_of(name)) for name in names]),
        ("Spearman's ρ of each ordering with the loss of CLIP accuracy", _orderings(runs.values())),
    ]
    return "\n".join(f"## {title}\n\n{_table(runs, columns)}" for title, columns in parts)


def _run_folder(folder: Path, text: str) -> Path:
    path = Path(text)
    return path if path.is_absolute() or path.exists() else folder / path


def _table(runs: Mapping[str, Run], columns: Sequence[Column]) -> str:
    rows = [["method", *(name for name, _ in columns)], ["---"] * (len(columns) + 1)]
    rows += [[name.removesuffix("-van-gogh"), *(cell(run) for _, cell in columns)] for name, run in runs.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _verdict(run: Run) -> str:
    return str(run.verdict)


def _claim_of(group: str) -> Callable[[Run], str]:
    """Estimate and verdict of a group's claim over all of its cases, or of its worst case if it has none."""

    def cell(run: Run) -> str:
        figure = group_claim(run, group)
        return "–" if figure.value is None else f"{100 * figure.value:.1f}% {figure.mark}".rstrip()

    return cell


def _images(run: Run) -> str:
    return f"{run.manifest.images.get('rendered', 0):,}"


def _seconds(run: Run) -> str:
    return f"{run.manifest.seconds or 0:,.0f}"


_COST: tuple[Column, ...] = (("images drawn", _images), ("seconds", _seconds))


def _probe(run: Run, name: str) -> ProbeRecord | None:
    return next((case.probe for case in run.cases if case.probe and case.probe.name == name and not case.probe.refusal), None)


def _attack_of(name: str) -> Callable[[Run], str]:
    """The candidate's success at the dose with the largest difference, against the control's, such as "7/8 : 0/8".

    Bold: more than the control's beyond chance, by an exact one-sided sign test at 5%, adjusted over the doses (Bonferroni).
    """

    def cell(run: Run) -> str:
        record = _probe(run, name)
        if record is None or attack_rates(record) is None:
            return "–"
        curves = [curve for curve in curves_of(record) if curve.candidate]
        worst = max(curves, key=lambda curve: (sum(curve.candidate) - sum(curve.control), sum(curve.candidate)))
        ours = f"{sum(worst.candidate)}/{len(worst.candidate)}"
        if not worst.control:
            return f"{ours} : –"
        text = f"{ours} : {sum(worst.control)}/{len(worst.control)}"
        return f"**{text}**" if len(curves) * _sign_test(worst.pairs) < SIGNIFICANT else text

    return cell


def _sign_test(pairs: Sequence[int]) -> float:
    """The p-value of pairs 1 (the candidate alone), -1 (the control alone) and 0, against "the control is no better"."""
    alone, apart = sum(pair > 0 for pair in pairs), sum(pair != 0 for pair in pairs)
    return float(binomtest(alone, apart, alternative="greater").pvalue) if apart else 1.0


def _orderings(runs: Iterable[Run]) -> list[Column]:
    sources = list(dict.fromkeys(row.source for run in runs for row in correlations_of(run) if row.damage == "clip_accuracy"))

    def cell_of(source: str) -> Callable[[Run], str]:
        def cell(run: Run) -> str:
            rows = [row for row in correlations_of(run) if row.damage == "clip_accuracy" and row.source == source]
            if not rows or rows[0].rho is None:
                return "–"
            return f"{hundredths(rows[0].rho)} [{hundredths(rows[0].lower)}, {hundredths(rows[0].upper)}]"

        return cell

    return [(source, cell_of(source)) for source in sources]
