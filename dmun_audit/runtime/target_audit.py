"""The audit of one target, without pytest: its records, its run folder, its conclusion."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from dmun_audit._util import hashing
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.decisions.conclude import Interruptions, conclude, pooled_records
from dmun_audit.decisions.multiple_testing import with_holm
from dmun_audit.decisions.spot_check import with_spot_check
from dmun_audit.evidence.manifest import AttemptRecord, Manifest, OtherAttempt
from dmun_audit.evidence.reading import evidence_digest
from dmun_audit.evidence.run import Run, read_run
from dmun_audit.evidence.run_folder import RunFolder, as_read_back
from dmun_audit.evidence.run_lock import RunLock
from dmun_audit.evidence.schema import CaseRecord, JsonObject, Volatile
from dmun_audit.plan.case import Case
from dmun_audit.plan.waivers import with_waivers
from dmun_audit.probes.parts.finds import FindStore
from dmun_audit.render.counts import Counts
from dmun_audit.report.attestation import statement
from dmun_audit.report.files import write_reports
from dmun_audit.runtime.inputs import write_inputs
from dmun_audit.runtime.manifest import concluded_manifest, difference, opened_manifest
from dmun_audit.runtime.runner import AuditRunner
from dmun_audit.store.attempts import Attempt, AttemptLog
from dmun_audit.store.images import ImageStore
from dmun_audit.verdict.vocabulary import CONTROLS, AuditVerdict

logger = logging.getLogger(__name__)


class TargetAudit:
    """One audit. Every process may run its cases; one process writes its run folder and concludes it."""

    def __init__(self, config: AuditConfig) -> None:
        self.config = config
        self.name = config.dossier.target.name
        self.records: dict[str, CaseRecord] = {}
        self.facts: JsonObject = {}  # the manifest's facts on models, judges and machine
        self.folder: RunFolder | None = None  # set by `begin`, in the process that writes it
        self.run: Run | None = None  # the concluded audit
        self._lock: RunLock | None = None  # held from `begin` to `end`: a run folder has one writer
        self._runner: AuditRunner | None = None
        self.pooled: tuple[CaseRecord, ...] = ()  # the pooled claims that this run decided
        self.stands = False  # whether this run was stopped, and the verdict of an earlier run of the same audit stands
        self._earlier: Manifest | None = None
        self._opened: Manifest | None = None  # what the manifest says once the evidence changes
        self._attempts: tuple[AttemptRecord, ...] = ()
        self._store = ImageStore(config.store_folder)
        self.shared_groups: tuple[str, ...] = ()  # claim groups whose cases other processes run at the same time

    # Running cases, in any process.

    def runner(self, open_runner: Callable[[AuditConfig], tuple[AuditRunner, JsonObject]]) -> AuditRunner:
        """The runner of its cases, opened once. Raises LoadError if a model or a judge cannot be loaded."""
        if self._runner is None:
            self._runner, self.facts = open_runner(self.config)
            self._runner.share_work(self.shared_groups)
        return self._runner

    def forget_runner(self) -> None:
        """Let go of the runner, which holds the models. The facts stay."""
        self._runner = None

    def check(self, case: Case, runner: AuditRunner, counts: Callable[[], Counts], worker: str = "main") -> CaseRecord:
        """Decide one case; `counts` gives what this process has drawn so far.

        If a control is refuted, the audit is INCOMPLETE whatever else is drawn: the record is then that of the control.
        """
        started, before, steps_before = time.monotonic(), counts(), runner.gradient_steps
        record = None if self.config.keep_going or case.group == CONTROLS else runner.failed_control
        record = record or runner.record(case)
        seconds = round(time.monotonic() - started, 3)
        drawn = counts().since(before)
        logger.info("%s: %s in %.1f s, %d images rendered", case.id, record.verdict, seconds, drawn.rendered)
        volatile = Volatile(
            seconds=seconds,
            worker=worker,
            rendered=drawn.rendered,
            rechecked=drawn.rechecked,
            finished=_now(),
            drawing={side: (time.images, round(time.seconds, 3)) for side, time in drawn.times.items()},
        )
        volatile = volatile.with_(gradient_steps=runner.gradient_steps - steps_before)
        return record.with_(volatile=volatile)

    # The run folder, in one process.

    def begin(self, *, whole: bool = True) -> None:
        """Open the run folder and record the attempt. `whole`: whether all cases of the plan are selected.

        Raises UsageError if the folder holds another audit or another process writes it, and StoreError if the folder or the
        store cannot be written. Call `end` afterwards, also after an error.
        """
        folder = RunFolder(self.config.run_folder if whole else _folder_of_selected_cases(self.config.run_folder))
        self._store.require_writable()
        folder.refuse_other_content(
            self.config.audit_hash, partial(difference, config=self.config)
        )  # a folder of something else gets no lock file
        self._lock = RunLock(folder.path)
        self._lock.acquire()
        folder.open(self.config.audit_hash)
        self._earlier = earlier = folder.read_manifest()
        self._attempts = (*(earlier.attempts if earlier else ()), AttemptRecord(started=_now()))
        self._opened = opened_manifest(self.config, earlier, self._attempts, self._log_attempt(folder))
        self.folder = folder
        if earlier is None or earlier.verdict == AuditVerdict.INCOMPLETE:
            self._mark_unfinished()

    def _mark_unfinished(self) -> None:
        """Say in the run folder that the audit has not finished, if it does not say so yet. This takes an earlier verdict away."""
        if self._opened and self.folder:
            self.folder.write_manifest(self._opened)
            write_inputs(self.config, self.folder.path)
            self._opened = None

    def end(self) -> None:
        """Let other processes write the run folder."""
        if self._lock:
            self._lock.release()

    def keep(self, record: CaseRecord) -> None:
        """Keep the record of one case and write it to the run folder. Raises StoreError if it cannot be written.

        A refuted control comes once for each case that was left out: what every process rendered for it adds up.
        """
        if earlier := self.records.get(record.case_id):
            drawn = ("rendered", "rechecked")
            sums = {name: getattr(earlier.volatile, name) + getattr(record.volatile, name) for name in drawn}
            record = record.with_(volatile=record.volatile.model_copy(update=sums))
        self.records[record.case_id] = record
        if self.folder:
            if not self.folder.holds(record):
                self._mark_unfinished()  # a verdict stays until the evidence changes
                self.folder.append(record)
            self._store.fetch([image.key for image in record.all_images])
            for image in record.all_images:
                self.folder.keep_image(self._store.path(image.key))
            for find in record.probe.finds if record.probe else ():
                self.folder.keep_find(FindStore(self.config.store_folder).path(find.key))

    def conclude(self, interruptions: Interruptions | None = None) -> Run:
        """Decide the pooled claims and the verdict; write evidence, reports and, last, the manifest with the verdict.

        A repeat of a finished audit that was stopped before it decided anything else writes nothing: the earlier verdict stands.

        Raises StoreError if a file cannot be written. The manifest then says that the run has not finished.
        """
        assert self.folder is not None
        interruptions, plan = interruptions or Interruptions(), self.config.plan
        if interruptions.stopped and self._opened and self._earlier and self._earlier.whole:
            self.stands, self.run = True, read_run(self.folder.path)
            return self.run
        self._mark_unfinished()
        single = {case.id: self.records[case.id] for case in plan.cases if case.id in self.records}  # workers end in any order
        pooled = pooled_records(plan, single)
        adjusted = with_holm([*single.values(), *pooled])
        records = {record.case_id: record for record in with_waivers(plan, adjusted, self.config.day)}
        self.folder.conclude(records[case.id] for case in plan.cases if case.id in records)
        self.pooled = tuple(records[record.case_id] for record in pooled)
        digest = evidence_digest(self.folder.contents().values())
        conclusion = with_spot_check(conclude(plan, records, interruptions), plan, self.folder.path, digest.digest, records)
        attempt = self._attempts[-1].model_copy(update={"finished": _now(), "verdict": conclusion.verdict})
        manifest = concluded_manifest(
            self.config,
            self.facts,
            records,
            conclusion,
            interruptions,
            whole=not interruptions.deselected and not interruptions.stopped,
            earlier=self._earlier,
            attempts=(*self._attempts[:-1], attempt),
            evidence=digest,
            not_run=[case_id for case_id in self.folder.contents() if case_id not in records],
            others=self._log_attempt(self.folder, conclusion.verdict),
        )
        run = read_run(self.folder.path, as_read_back(manifest))
        write_reports(run)
        self.folder.seal(manifest, partial(statement, run.manifest, run.cases))
        self.run = run
        return run

    def _log_attempt(self, folder: RunFolder, verdict: AuditVerdict | None = None) -> list[OtherAttempt]:
        """Write to the log of these weights that this audit begins, or its verdict. Returns the other audits in the log.

        A candidate whose weights nobody sees before it is loaded has a log by the digest of its files.
        """
        config = self.config
        log = AttemptLog(config.store_folder, config.tensors_digest or config.source_digests["candidate"])
        attempt = Attempt(
            audit_hash=config.audit_hash,
            began=self._attempts[-1].started,
            folder=folder.path.name,
            target=self.name,
            policy=config.policy.name,
            policy_digest=hashing.digest(config.policy.as_dict()),
            dossier_digest=config.dossier.digest(),
            audit_seed=config.audit_seed,
            drawn=config.seeds,
            verdict=verdict or "",
        )
        log.append(attempt)
        others = [other for other in log.attempts() if other.audit_hash != config.audit_hash]
        return [OtherAttempt(**asdict(other)) for other in others]

    @property
    def verdict(self) -> AuditVerdict | None:
        """The verdict, once the audit is concluded."""
        return self.run.verdict if self.run else None


def folder_of_run(config: AuditConfig) -> Path:
    """The run folder of a run that has begun."""
    return _folder_of_selected_cases(config.run_folder)


def _folder_of_selected_cases(folder: Path) -> Path:
    """The run folder for selected cases. It is another one if `folder` holds the conclusion of the whole plan."""
    manifest = RunFolder(folder).read_manifest()
    concluded = manifest is not None and manifest.exit_code is not None and manifest.whole
    return folder.with_name(folder.name + "-partial") if concluded else folder


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
