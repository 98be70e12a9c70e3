"""Detectors of other packages, found through the entry-point group `dmun_audit.detectors`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from dmun_audit._util.errors import LoadError
from dmun_audit._util.extensions import call, load
from dmun_audit.judge.detector_kind import DetectorKind, SharedModels
from dmun_audit.judge.protocol import Detector, Network, ScoreScale
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.knowledge.dossier import Target

GROUP = "dmun_audit.detectors"

_SHA256 = re.compile(r"[0-9a-f]{64}")


def kind_of_entry(entry: EntryPoint) -> DetectorKind:
    """The kind of detector of an entry point. Its package is imported when a network is opened, not before."""
    return DetectorKind(
        entry.name,
        f"{entry.name}:SOURCE#QUERY",
        check=lambda reference: None,
        open=lambda reference, models: _open(entry, reference, models),
        needs_source=False,
    )


@dataclass(frozen=True)
class CheckedNetwork:
    """A network of another package. Its detectors are checked against the protocol."""

    entry: EntryPoint
    network: Network

    def detector(self, reference: JudgeReference, target: Target) -> Detector:
        """See `Network.detector`. Raises LoadError for a detector that does not keep the protocol."""
        detector = call(self.entry, f"judge {reference.text!r}", lambda: self.network.detector(reference, target))
        wrong = _violation(detector)
        if wrong:
            raise _not_kept(self.entry, reference, wrong)
        return detector


def _open(entry: EntryPoint, reference: JudgeReference, models: SharedModels) -> Network:
    factory = load(entry)
    if not callable(factory):
        raise _not_kept(entry, reference, "the entry point names nothing that can be called")
    network = call(entry, f"judge {reference.text!r}", lambda: factory(reference, models.device))
    if not callable(getattr(network, "detector", None)):
        raise _not_kept(entry, reference, "the factory gives no object with a method detector(reference, target)")
    return CheckedNetwork(entry, network)


def _violation(detector: Detector) -> str:
    """What a detector lacks of the protocol; empty if nothing."""
    if not callable(getattr(detector, "target_scores", None)):
        return "its detector has no method target_scores(images)"
    if not isinstance(getattr(detector, "scale", None), ScoreScale):
        return "the scale of its detector is no ScoreScale"
    if not isinstance(getattr(detector, "reference", None), str):
        return "the reference of its detector is no text"
    digest = getattr(detector, "digest", None)
    if not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        return "the digest of its detector is no SHA-256 of 64 lower-case hex digits"
    return ""


def _not_kept(entry: EntryPoint, reference: JudgeReference, wrong: str) -> LoadError:
    return LoadError(
        f"judge {reference.text!r}: the extension {entry.name!r} does not keep the protocol of detectors",
        f"{entry.value}: {wrong}",
        "report it to the authors of that package; the protocol is dmun_audit.judge.protocol",
    )
