"""Reads what attacks found in earlier audits (--regress), and keeps it in the run folder of the new one."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest_bytes, digest_file
from dmun_audit._util.paths import expanded
from dmun_audit.config.dossiers import target_names
from dmun_audit.config.earlier_runs import COPY, finished_run, refuse_other_target, target_of
from dmun_audit.evidence.inputs import FROZEN, REGRESSIONS
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import FindRecord, ProbeImage, ProbeRecord
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.plan.case import CONTROL_MODEL
from dmun_audit.plan.regressions import FrozenFind, Regression, Unit, kept_regressions
from dmun_audit.probes.registry import probe_named, probes
from dmun_audit.store.files import write_atomically


def find_regressions(runs: Sequence[str], dossier: Dossier, base: str, *, among_others: bool = False) -> tuple[Regression, ...]:
    """The regression cases that earlier audits of this target give. `base` is the digest of the base's files.

    With `among_others`, the session has other targets too, and runs of another target are left out.

    A run is a run folder; or the file in it that keeps the regression cases of that audit, which gives the same ones again. Raises
    UsageError for a run that is damaged or unfinished, for one of another target or base, and for one without attacks.
    """
    found: dict[str, Regression] = {}
    for text in runs:
        path = expanded(text, f"--regress={text}")
        if among_others and fold(target_of("regress", text)) not in target_names(dossier):
            continue
        again = path.name == REGRESSIONS and path.is_file()
        for each in _kept(text, path, dossier, base) if again else _of_run(text, path, dossier, base):
            found[each.digest] = each
    return tuple(found.values())


def keep_regressions(regressions: Sequence[Regression], folder: Path) -> None:
    """Write regressions and the files of their finds into a run folder. Raises UsageError if a file is not there any more."""
    for regression in regressions:
        for find in regression.finds:
            place = folder / FROZEN / f"{find.sha256}.safetensors"
            if place.exists() and digest_file(place) == find.sha256:
                continue
            write_atomically(place, _content(str(find.path), find.path, find.sha256))
    text = json.dumps([each.to_json() for each in regressions], ensure_ascii=False, indent=1, sort_keys=True)
    write_atomically(folder / REGRESSIONS, f"{text}\n".encode())


def run_with_attacks(path: Path, named: str, dossier: Dossier) -> Run:
    """The finished audit of the dossier's target in a run folder, with attacks that were tried. `named` stands for it in errors.

    Raises UsageError if it is no run folder, is damaged or unfinished, is about another target, or tried no attack.
    """
    run = finished_run(path, named)
    refuse_other_target(named, run.manifest.target.name, dossier)
    if not any(case.probe is not None and case.probe.was_tried for case in run.cases):
        raise UsageError(
            f"{named} holds no attack with the weights in hand", "its policy tried no probe", "name a run that has probes"
        )
    return run


def _of_run(text: str, path: Path, dossier: Dossier, base: str) -> list[Regression]:
    option = f"--regress={text}"
    run = run_with_attacks(path, option, dossier)
    _refuse_other_base(option, _base_of(run), base)
    return [each for case in run.cases if case.probe is not None for each in _of_probe(option, run, case.probe)]


def _kept(text: str, path: Path, dossier: Dossier, base: str) -> tuple[Regression, ...]:
    """The regression cases that an earlier audit kept in a file."""
    option, regressions = f"--regress={text}", kept_regressions(path)
    for each in regressions:
        refuse_other_target(option, each.names[0], dossier)
        _refuse_other_base(option, each.base, base)
        _refuse_other_version(option, each.probe, {each.version})
        for find in each.finds:
            _content(option, find.path, find.sha256)
    return regressions


def _refuse_other_base(named: str, earlier: str, base: str) -> None:
    if earlier != base:
        raise UsageError(
            f"{named} is an audit over another base", "finds fit the networks of that base", "name a run over this base"
        )


def _refuse_other_version(named: str, probe: str, versions: Collection[int]) -> None:
    """Raise UsageError if this package has no such probe, or has it in another version."""
    if probe not in {each.name for each in probes()}:
        raise UsageError(f"{named} tried the probe {probe!r}, which does not exist", "", "install the version that has it")
    version = probe_named(probe).version
    if other := sorted(set(versions) - {version}):
        raise UsageError(
            f"{named} tried version {other[0]} of the probe {probe}, and this is version {version}",
            "it would draw other images with the same find",
            "use the version of dmun_audit that wrote the run, or leave the run out",
        )


def _base_of(run: Run) -> str:
    """The digest of the base's files."""
    return str(run.manifest.models.get("base", {}).get("source_digest", ""))


def _of_probe(option: str, run: Run, record: ProbeRecord) -> list[Regression]:
    """One regression for each dose at which finds brought the target back on more images of the candidate than of the control."""
    _refuse_other_version(option, record.name, {find.version for find in record.finds})
    regressions: list[Regression] = []
    for dose in record.doses:
        finds = [find for find in record.finds if find.dose == dose.label and find.model == "candidate" and not find.placebo]
        frozen = [(find, images) for find in finds if (images := _images(record, find))]
        drawn = [image for _, images in frozen for image in images]
        hits = sum(bool(image.detected) for image in drawn)
        if hits == 0 or hits <= _control_hits(record, dose.label):
            continue
        regressions.append(
            Regression(
                run=run.manifest.audit_hash,
                base=_base_of(run),
                probe=record.name,
                version=frozen[0][0].version,
                dose=dose.label,
                kind=frozen[0][0].kind,
                settings=tuple(frozen[0][0].settings.items()),
                names=(run.manifest.target.name, *_aliases(run)),
                hits=hits,
                trials=len(drawn),
                counts=record.control != "none",
                finds=tuple(_frozen(option, run, find, images) for find, images in frozen),
            )
        )
    return regressions


def _control_hits(record: ProbeRecord, dose: str) -> int:
    """The images of the control at a dose that show the target."""
    images = [image for image in record.images if image.dose == dose and (image.placebo or image.model == CONTROL_MODEL)]
    return sum(bool(image.detected) for image in images)


def _images(record: ProbeRecord, find: FindRecord) -> list[ProbeImage]:
    """The images of the candidate that were drawn with a find."""
    ours = [image for image in record.images if image.model == "candidate" and not image.placebo and image.dose == find.dose]
    return [image for image in ours if not find.seeds or image.seed in find.seeds]


def _frozen(option: str, run: Run, find: FindRecord, images: Sequence[ProbeImage]) -> FrozenFind:
    path = run.path / "finds" / f"{find.key}.safetensors"
    _content(option, path, find.sha256)
    units = tuple(Unit(prompt=image.prompt, index=image.index, seed=image.seed or 0) for image in images)
    return FrozenFind(key=find.key, sha256=find.sha256, units=units, together=bool(find.seeds), path=path)


def _content(option: str, path: Path, sha256: str) -> bytes:
    """The bytes of a find. Raises UsageError if the file is missing, or is another one than the record names."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{option} lacks the find {path.name}", error.strerror or str(error), COPY) from None
    if digest_bytes(data) != sha256:
        raise UsageError(
            f"{option} holds a changed find, {path.name}", f"its SHA-256 is not {sha256[:16]}…, as the record says", COPY
        )
    return data


def _aliases(run: Run) -> tuple[str, ...]:
    from dmun_audit.evidence.inputs import DOSSIER
    from dmun_audit.knowledge.reading import read_dossier

    return tuple(read_dossier(run.path / DOSSIER).target.aliases)
