"""Keeps an audit's books on the controller: opens the run folder, writes evidence, closes with verdict and reports."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmun_audit.config import resolve as setups
from dmun_audit.config.resolve import AuditConfig
from dmun_audit.decisions.conclude import conclude, pooled_records
from dmun_audit.decisions.multiple_testing import with_holm
from dmun_audit.evidence.run_folder import RunFolder, fingerprint
from dmun_audit.plan.waivers import what_became_of, with_waivers
from dmun_audit.store.files import require_writable
from dmun_audit.store.images import ImageStore

Record = dict[str, Any]
PACKAGES = ("dmun_audit", "pytest", "pytest-xdist", "torch", "diffusers", "transformers", "open_clip_torch", "scipy", "numpy")


@dataclass(frozen=True)
class Ending:
    """How an audit ended: verdict, exit code, the pooled records, and lines for the terminal.

    `headline` is the verdict as people read it: with the number of waivers that it rests on, if there are any.
    """

    verdict: str
    exit_code: int
    pooled: list[Record]
    summary: list[str]
    headline: str


class Ledger:
    """The books of one audit. One per session, on the controller: nobody else writes evidence."""

    def __init__(self, setup: AuditConfig, *, whole: bool = True) -> None:
        self.setup = setup
        self.folder = RunFolder(setup.run_folder if whole else _beside_a_whole_audit(setup.run_folder))
        self.store = ImageStore(setup.store_folder)

    def begin(self) -> None:
        """Open the run folder for this audit and note the attempt.

        Raises UsageError where the folder holds another audit, and StoreError where it or the store cannot be written.
        """
        require_writable(self.store.folder)
        self.folder.open(self.setup.audit_hash)
        earlier = self.folder.read_manifest() or {}
        attempts = [*earlier.get("attempts", []), {"started": _now(), "finished": None, "verdict": None}]
        open_ = {"verdict": "INCOMPLETE", "exit_code": None, "reasons": ["The run has not finished."], "attempts": attempts}
        self.folder.write_manifest(earlier | setups.facts(self.setup) | open_)

    def write(self, record: Record) -> None:
        """Add one case to the evidence and keep its images."""
        self.folder.append(record, adjusted=False)
        for image in record["images"]:
            self.folder.keep_image(self.store.path(image["key"]))

    def close(
        self,
        records: dict[str, Record],
        *,
        facts: dict[str, Any],
        deselected: set[str],
        stopped: str,
        own_failures: list[str],
    ) -> Ending:
        """Decide the pooled claims, conclude, and write evidence, manifest and reports."""
        from dmun_audit.report.html import write_html
        from dmun_audit.report.junit import write_junit
        from dmun_audit.report.run import read_run
        from dmun_audit.report.text import summary_lines
        from dmun_audit.report.waivers import headline

        setup, folder, plan = self.setup, self.folder, self.setup.plan
        pooled = pooled_records(plan, records)
        everything = with_waivers(plan, with_holm([*records.values(), *pooled]), setup.day)
        for record in everything:
            folder.append(record)
        by_id = {record["case_id"]: record for record in everything}
        outcome = conclude(plan, by_id, deselected=deselected, stopped=stopped, own_failures=own_failures)
        manifest = folder.read_manifest() or {}
        attempt = manifest["attempts"][-1] | {"finished": _now(), "verdict": outcome.verdict}
        asked = {(image["model"], image["key"]) for record in everything for image in record["images"]}
        rendered = sum(record["volatile"].get("rendered", 0) for record in everything)
        manifest |= facts | setups.facts(setup)
        manifest |= {
            "verdict": outcome.verdict,
            "exit_code": outcome.exit_code,
            "reasons": outcome.reasons,
            "whole": not deselected and not stopped,
            "day": setup.day.isoformat(),
            "waivers": what_became_of(plan, by_id, setup.day),
            "images": {"planned": plan.image_budget(), "rendered": rendered, "reused": max(0, len(asked) - rendered)},
            "judge": facts.get("judge", {"reference": setup.judge}) | _judge_errors(plan, by_id),
            "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
            "git": _git(Path.cwd()),
            "attempts": [*manifest["attempts"][:-1], attempt],
            "started": attempt["started"],
            "finished": attempt["finished"],
            "seconds": round(sum(record["volatile"].get("seconds", 0.0) for record in everything), 1),
            "evidence": fingerprint(folder.records().values()),
        }
        folder.write_manifest(manifest)
        run = read_run(folder.path)
        write_junit(run, folder.path / "junit.xml")
        write_html(run, folder.path / "report.html")
        told = [by_id[record["case_id"]] for record in pooled]
        return Ending(outcome.verdict, outcome.exit_code, told, summary_lines(run), headline(run))


def _beside_a_whole_audit(folder: Path) -> Path:
    """Where a run of selected cases keeps its books: not in a folder that holds the conclusion of the whole plan."""
    manifest = RunFolder(folder).read_manifest() or {}
    concluded = manifest.get("exit_code") is not None and manifest.get("whole")
    return folder.with_name(folder.name + "-partial") if concluded else folder


def _judge_errors(plan: Any, records: dict[str, Record]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for case in plan.of_group("controls"):
        record = records.get(case.id)
        if record is None:
            continue
        claim = record["claim"]
        if case.kind == "sensitivity":
            found["sensitivity"] = {part: claim[part] for part in ("hits", "trials", "lower")}
            found |= record["measures"]
        if case.kind == "specificity":
            found["false_positive_rate"] = {part: claim[part] for part in ("hits", "trials", "upper")}
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the working tree the audit was started in, or None outside of one."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}
