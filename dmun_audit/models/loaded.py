"""What loading gives: a pipeline with the report of its load, and a model in memory that is ready to draw."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dmun_audit.models.alignment import align
from dmun_audit.models.external_images import DrawingFunction, ImageFolder
from dmun_audit.models.fingerprint import Hashed, by_memory, digests, hash_tensors
from dmun_audit.models.probe import Probe, take_probe
from dmun_audit.models.proof import LoadProof, LoadReport
from dmun_audit.models.references import ModelReference

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedPipeline:
    """A pipeline and what was loaded into it.

    `beyond_weights` is a digest of whatever else decides its images: the folder's own code where it was allowed to run, or what a
    Python caller changed in a pipeline. It is empty for a pipeline that is all configuration and weights. `weights_digest` is
    given where it is known already, and `hashed` where the pipeline shares weights with a loaded model.
    """

    pipeline: Any
    report: LoadReport
    beyond_weights: str = ""
    weights_digest: str = ""
    tensors_digest: str = ""
    hashed: Hashed = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory.

    `pipeline` is a diffusers pipeline in evaluation mode, and None where `image_source` gives the images instead. `proof` is a
    `LoadProof` as plain values. `set_prompts` belongs to an adapter that follows the prompts: it is called with the prompts of a
    batch before the batch is drawn. `beyond_weights` comes from `OpenedPipeline`. `weights_digest` and `tensors_digest` are explained in
    `fingerprint.digests`; images made elsewhere have no tensors. `probe` is None where there is no pipeline, or where
    it could not be run. `hashed` holds the digests of the pipeline's tensors: a pipeline that shares some need not hash them again.
    """

    reference: ModelReference
    pipeline: Any
    source_digest: str
    weights_digest: str
    proof: dict[str, Any]
    set_prompts: Callable[[Sequence[str]], None] | None = None
    image_source: DrawingFunction | ImageFolder | None = None
    beyond_weights: str = ""
    probe: Probe | None = None
    tensors_digest: str = ""
    hashed: Hashed = field(default_factory=dict)

    @property
    def may_be_copied(self) -> bool:
        """Whether a copy of the pipeline is the same model: code of a folder's own may keep things in memory."""
        return self.reference.kind == "memory" or not self.beyond_weights


def finish(
    reference: ModelReference,
    opened: OpenedPipeline,
    proof: LoadProof,
    device: str,
    source_digest: str,
    set_prompts: Callable[[Sequence[str]], None] | None = None,
) -> LoadedModel:
    """Take the digest of the weights, move the pipeline to `device`, and probe it there."""
    pipeline = opened.pipeline
    known = (opened.tensors_digest, opened.weights_digest)
    hashes = {} if all(known) else hash_tensors(pipeline, opened.hashed)
    of_tensors, of_all = known if all(known) else digests(pipeline, opened.beyond_weights, hashes)
    pipeline.to(device)
    if device == "cpu":
        align(pipeline)
    probe, facts, warnings = _probed(pipeline, device, set_prompts)
    return LoadedModel(
        reference,
        pipeline,
        source_digest,
        of_all,
        replace(proof, probe=facts, warnings=[*proof.warnings, *warnings]).as_dict(),
        set_prompts,
        beyond_weights=opened.beyond_weights,
        probe=probe,
        tensors_digest=of_tensors,
        hashed=by_memory(pipeline, hashes),
    )


def _probed(
    pipeline: Any, device: str, set_prompts: Callable[[Sequence[str]], None] | None
) -> tuple[Probe | None, dict[str, Any], list[str]]:
    """The probe, what the load proof says of it, and a warning where the pipeline could not be run."""
    started = time.monotonic()
    try:
        probe = take_probe(pipeline, device, set_prompts)
    except Exception as error:  # a pipeline of any class, with code of its own
        why = f"{type(error).__name__}: {error}"[:300]
        return (
            None,
            {"digest": None, "why": why},
            [f"the model could not be run on fixed inputs, so no probe confirms it ({why})"],
        )
    logger.debug("probed the model on %s in %.2f s", device, time.monotonic() - started)
    return probe, probe.facts, []
