"""Runs an audit again from what its run folder holds, and compares the two runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dmun_audit._util.errors import UsageError
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.inputs import BASELINE_FILE, DOSSIER, PACKAGES, POLICY, REGRESSIONS, UNRELATED
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import FIRST_WITH_CHECKSUMS, CaseRecord, ImageRecord, JsonObject, without_volatile
from dmun_audit.policy import Policy, load_policy
from dmun_audit.render.devices import acceleration, number_format, sees_gpu
from dmun_audit.runtime.whole_audit import run_audit

MOST_NAMED = 5  # differences of one kind
STORE = "store"
DECIDED_BY_DEVICE = {"dtype": {"float32", "bfloat16", "float16"}, "acceleration": {"none", "layout", "compiled"}}
"""Keys of the sampling that may be "auto", and what the manifest may say of each."""

Place = tuple[str, str, int]  # model, prompt, index


@dataclass(frozen=True)
class Reproduction:
    """An audit and its repetition.

    Attributes:
        before: The first run.
        after: The repetition.
    """

    before: Run
    after: Run

    @property
    def is_reproduced(self) -> bool:
        """Whether verdict, records and images are the same. Packages and machine may differ."""
        return not any((self._verdict(), self._cases(), self._images()))

    def lines(self) -> list[str]:
        """What is the same and what differs, in sentences."""
        kinds = {
            "verdict": self._verdict(),
            "cases": _shortened(self._cases()),
            "images": _shortened(self._images()),
            "models and judge": self._digests(),
            "packages and machine": _shortened(self._circumstances()),
        }
        lines = [f"{'REPRODUCED' if self.is_reproduced else 'NOT REPRODUCED'}: {self.before.path}, as {self.after.path}"]
        for name, differences in kinds.items():
            lines += [f"{name}: the same"] if not differences else [f"{name}: {each}" for each in differences]
        return lines

    def _verdict(self) -> list[str]:
        one, other = self.before.verdict, self.after.verdict
        return [] if one == other else [f"{one} before, {other} now"]

    def _cases(self) -> list[str]:
        before, after = ({case.case_id: case for case in run.cases} for run in (self.before, self.after))
        found = []
        for case_id in dict.fromkeys([*before, *after]):
            one, other = before.get(case_id), after.get(case_id)
            if one is None or other is None:
                title = (one or other or after[case_id]).title
                found.append(f"“{title}” is only in the {'first' if one else 'second'} run")
            elif one.verdict != other.verdict:
                found.append(f"“{one.title}”: {one.verdict} before, {other.verdict} now")
            elif _findings(one) != _findings(other):
                found.append(f"“{one.title}”: the same verdict, other numbers")
        return found

    def _images(self) -> list[str]:
        before, after = _images(self.before), _images(self.after)
        both = before.keys() & after.keys()
        other = sorted(place for place in both if not _same_pixels(self.before, before[place], self.after, after[place]))
        found = (
            [f"{len(other)} of {len(both)} images have other pixels, such as “{other[0][1]}”, {other[0][0]}, index {other[0][2]}"]
            if other
            else []
        )
        alone = before.keys() ^ after.keys()
        return found + ([f"{len(alone)} images are only in one of the runs"] if alone else [])

    def _digests(self) -> list[str]:
        one, other = (_digests(run) for run in (self.before, self.after))
        changed = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return [f"{name}: {str(one.get(name))[:16]}… before, {str(other.get(name))[:16]}… now" for name in changed]

    def _circumstances(self) -> list[str]:
        one, other = (_packages(run.path) for run in (self.before, self.after))
        changed = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
        found = [f"{name} {one.get(name, 'not installed')} before, {other.get(name, 'not installed')} now" for name in changed]
        machines = [run.manifest.hardware for run in (self.before, self.after)]
        keys = sorted(key for key in machines[0].keys() | machines[1].keys() if machines[0].get(key) != machines[1].get(key))
        return found + [f"{key} {machines[0].get(key)} before, {machines[1].get(key)} now" for key in keys]


def reproduce(
    folder: Path,
    *,
    model: str | None = None,
    base: str | None = None,
    audit_dir: Path | None = None,
    store: str | None = None,
    allow_sensitive: bool = False,
    on_case: Callable[[CaseRecord], None] | None = None,
) -> Reproduction:
    """Run the audit of a run folder again, with its dossier, policy, seed and judges. See `cli.reproduce`.

    The first run stays as it is. Own tests of the user are not run. Raises UsageError if the folder cannot be reproduced.
    """
    before = checked_run(folder)
    _require_reproducible(before)
    options: dict[str, Any] = dict(before.manifest.command["options"])
    after_folder = audit_dir or folder.with_name(folder.name + "-reproduced")
    options |= {
        "model": model or options["model"],
        "base": base or options["base"],
        "knowledge": str(folder / DOSSIER),
        "policy": _policy(before),
        "unrelated": str(folder / UNRELATED) if (folder / UNRELATED).exists() else None,
        "metric": tuple(options.get("metric", ())),
        "regress": (str(folder / REGRESSIONS),) if (folder / REGRESSIONS).exists() else (),
        "baseline": (str(folder / BASELINE_FILE),) if (folder / BASELINE_FILE).exists() else (),
        "audit_dir": str(after_folder),
        "store": str(store or after_folder.with_name(f"{after_folder.name}-{STORE}")),
        "allow_sensitive": allow_sensitive,
        "offload": options.get("offload") if sees_gpu() else None,
    }
    try:
        config = resolve(Options(**options))
    except TypeError as error:
        raise UsageError(
            f"{folder} cannot be reproduced", f"manifest.json holds an unknown option: {error}", "was it edited?"
        ) from None
    return Reproduction(before, run_audit(config, on_case=on_case))


def _policy(run: Run) -> Policy:
    """The policy of a run. What the device decided (number format, acceleration) is that of the run and not that of this device."""
    policy = load_policy(str(run.path / POLICY))
    drawn: JsonObject = {"acceleration": "none"} | run.manifest.sampler  # older runs do not say it
    here = {"dtype": number_format("auto"), "acceleration": acceleration("auto")}
    kept = {
        key: drawn[key]
        for key, known in DECIDED_BY_DEVICE.items()
        if getattr(policy.sampling, key) == "auto" and drawn.get(key) in known - {here[key]}
    }
    return replace(policy, sampling=replace(policy.sampling, **kept))


def _require_reproducible(run: Run) -> None:
    remedy = "use the version of dmun_audit that wrote it"
    if run.manifest.format < FIRST_WITH_CHECKSUMS:
        raise UsageError(
            f"{run.path} cannot be reproduced", "its version kept neither dossier nor policy in the run folder", remedy
        )
    if not run.concluded:
        raise UsageError(f"{run.path} cannot be reproduced", "the audit has not finished", "run the audit to its end")
    if run.altered:
        raise UsageError(f"{run.path} cannot be reproduced", run.contradictions[0], "use an unchanged copy of the folder")
    reference = str(run.manifest.command.get("options", {}).get("model", ""))
    if reference.startswith("pipeline:"):
        raise UsageError(
            f"{run.path} cannot be reproduced", "its candidate was a pipeline in memory", "audit the pipeline again from Python"
        )


def _findings(record: CaseRecord) -> dict[str, Any]:
    """The record without time, and without the keys of images: they depend on the machine."""
    content = without_volatile(record.to_json())
    for part in ("images", "calibration"):
        content[part] = [{name: value for name, value in image.items() if name != "key"} for image in content.get(part) or ()]
    return content


def _digests(run: Run) -> dict[str, str | None]:
    """The digests of judge, metrics and models by their names in words, with those of single files."""
    found = {"judge": run.manifest.judge.get("digest")}
    found |= {f"metric {metric.get('name')}": metric.get("digest") for metric in run.manifest.metrics}
    for side in ("base", "candidate"):
        facts = run.manifest.models.get(side, {})
        found |= {f"{side}, file {name}": digest for name, digest in (facts.get("files") or {}).items()}
        found |= {f"{side}, files": facts.get("source_digest"), f"{side}, weights as loaded": facts.get("weights_digest")}
    return found


def _images(run: Run) -> dict[Place, ImageRecord]:
    return {(image.model, image.prompt, image.index): image for case in run.cases for image in case.images}


def _same_pixels(before: Run, one: ImageRecord, after: Run, other: ImageRecord) -> bool:
    files = before.image(one.key), after.image(other.key)
    if None in files:
        return files[0] == files[1]
    try:
        one_file, other_file = (np.asarray(Image.open(file)) for file in files if file is not None)
    except (OSError, SyntaxError, ValueError):  # a damaged file
        return False
    return bool(np.array_equal(one_file, other_file))


def _packages(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / PACKAGES).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(line.split("==", 1) for line in lines if "==" in line)


def _shortened(sentences: list[str]) -> list[str]:
    more = len(sentences) - MOST_NAMED
    return sentences if more <= 1 else [*sentences[:MOST_NAMED], f"and {more} more"]
