"""What a tracker is told of a finished audit: parameters, metrics, tags and files. A pure function of a run folder."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.comparison.figure import Figure
from dmun_audit.comparison.figures import figures_of
from dmun_audit.evidence.run import Run
from dmun_audit.report.exports.summary import summary_markdown
from dmun_audit.report.formatting import one_line, report_verdict
from dmun_audit.report.standing import is_release_evidence
from dmun_audit.report.waivers import headline

REPORT = "report.html"
WITHOUT_PICTURES = "report-without-pictures.html"
"""The report of a sensitive target, whose pictures leave the machine only if the user asks for images."""

FILES = (REPORT, "junit.xml", "manifest.json", "evidence.jsonl", "SHA256SUMS", "attestation.json", "attestation.dsse.json")
"""The files of a run folder that a tracker gets, as far as the folder has them."""

LONGEST_VALUE = 500
"""Characters of a parameter or a tag. Every tracker keeps so many."""

_NO_NAME = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class LoggedAudit:
    """What a tracker is told of one audit.

    Attributes:
        identity: 32 hexadecimal digits, equal for every logging of one audit. An audit of which only a part ran has another identity
            than the whole audit.
        evidence: Digest of the evidence and the verdict. It tells whether the tracker has the audit as it is now.
        name: What the tracker calls it: target and candidate.
        parameters: What the audit ran with.
        metrics: All figures that `dmun-audit compare` prints, bounds included, and counts. Names are letters, digits and `_`.
        tags: The verdict and what it is evidence for.
        description: The summary, as Markdown.
    """

    identity: str
    evidence: str
    name: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    description: str


def logged_audit(run: Run) -> LoggedAudit:
    """What a tracker is told of `run`.

    Raises UsageError for an audit that was not concluded, and for one whose files contradict its verdict.
    """
    if run.altered or not run.concluded:
        why = run.contradictions[0] if run.altered else "it was not concluded"
        raise UsageError(f"{run.path} cannot be logged", why, "run the audit to its end, or use an unchanged copy of the folder")
    manifest = run.manifest
    candidate, target = _of(manifest.models, "candidate", "reference"), one_line(manifest.target.name)
    parameters = {
        "target": target,
        "target_kind": manifest.target.kind,
        "candidate": candidate,
        "candidate_weights_digest": _of(manifest.models, "candidate", "weights_digest"),
        "base": _of(manifest.models, "base", "reference"),
        "base_weights_digest": _of(manifest.models, "base", "weights_digest"),
        "policy": manifest.policy.get("name", ""),
        "policy_digest": manifest.policy.get("digest", ""),
        "judge": manifest.judge.get("reference", ""),
        "judge_digest": manifest.judge.get("digest", ""),
        "dossier_digest": manifest.dossier.get("digest", ""),
        "audit_seed": manifest.seeds.get("audit_seed", ""),
        "dmun_audit_version": manifest.versions.get("dmun_audit", ""),
    }
    tags = {
        "verdict": str(run.verdict),
        "headline": headline(run),
        "release_evidence": "yes" if is_release_evidence(run) else "no",
        "whole": "yes" if manifest.whole else "no",
        "audit_hash": manifest.audit_hash,
    }
    return LoggedAudit(
        identity=digest(["tracked", manifest.audit_hash, manifest.whole])[:32],
        evidence=digest([run.digest, str(run.verdict)])[:32],
        name=_value(f"{target} in {candidate}")[:120],
        parameters={name: text for name, value in parameters.items() if (text := _value(value))},
        metrics=_metrics(run),
        tags={name: text for name, value in tags.items() if (text := _value(value))},
        description=summary_markdown(run),
    )


def collect_files(run: Run, folder: Path, *, images: bool) -> None:
    """Copy what a tracker gets into an empty folder. Links in the run folder are left out.

    `images` adds the folder `images`. The report of a sensitive target has its pictures only with `images`. Raises UsageError if a file
    cannot be copied.
    """
    hidden = run.manifest.target.kind == "unsafe" and not images
    try:
        for name in FILES:
            source = run.path / name
            if source.is_file() and not source.is_symlink() and not (hidden and name == REPORT):
                shutil.copyfile(source, folder / name)
        if hidden:
            from dmun_audit.report.html import render_html

            (folder / WITHOUT_PICTURES).write_text(render_html(replace(run, pictures=False)), encoding="utf-8")
        if images:
            _copy_images(run, folder / "images")
    except OSError as error:
        raise UsageError(
            f"{run.path} cannot be logged", error.strerror or str(error), "free space, or check the folder"
        ) from None


def _copy_images(run: Run, folder: Path) -> None:
    folder.mkdir()
    for key in dict.fromkeys(image.key for case in run.cases for image in case.all_images):
        source = run.image(key)
        if source is not None and not source.is_symlink():
            shutil.copyfile(source, folder / source.name)


def _metrics(run: Run) -> dict[str, float]:
    counts = Counter(f"cases_{report_verdict(case)}" for case in run.cases)
    counts["cases"] = len(run.cases)
    counts["cases_waived"] = sum(case.is_waived for case in run.cases)
    images = {
        f"images_{name}": value
        for name in ("planned", "rendered", "reused")
        if isinstance(value := run.manifest.images.get(name), int | float)
    }
    return _named([*_values(figures_of(run)), *counts.items(), *images.items()])


def _values(figures: Mapping[str, Figure]) -> Iterable[tuple[str, float | None]]:
    for name, figure in figures.items():
        yield name, figure.value
        yield f"{name} lower", figure.lower
        yield f"{name} upper", figure.upper


def _named(values: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """The values that are finite numbers, each under a name that every tracker takes. Of two equal names the second gets a number."""
    named: dict[str, float] = {}
    for name, value in values:
        if value is None or not math.isfinite(value):
            continue
        plain = short = _NO_NAME.sub("_", name.replace("ρ", "rho")).strip("_")
        number = 2
        while plain in named:
            plain, number = f"{short}_{number}", number + 1
        named[plain] = float(value)
    return named


def _of(models: Mapping[str, object], side: str, fact: str) -> str:
    facts = models.get(side)
    return one_line(facts.get(fact) or "") if isinstance(facts, dict) else ""


def _value(value: object) -> str:
    text = one_line(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
