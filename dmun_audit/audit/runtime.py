"""Opens models, judge and store for a resolved audit: the one place where torch comes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import LoadError
from dmun_audit.audit.damage import Damage
from dmun_audit.audit.observations import Observations
from dmun_audit.audit.runner import Audit
from dmun_audit.config.resolve import AuditConfig
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.models import references
from dmun_audit.render import devices

if TYPE_CHECKING:
    from dmun_audit.judge.clip_scorer import ClipScorer
    from dmun_audit.judge.opening import Judges
    from dmun_audit.judge.protocol import StoredImageDetector
    from dmun_audit.models.loaded import LoadedModel
    from dmun_audit.policy import Sampling
    from dmun_audit.render.engine import Engine


@dataclass
class AuditRuntime:
    """Models, store and judge, opened once in a process for all targets: every target's audit is made of these."""

    base: LoadedModel
    candidate: LoadedModel
    engine: Engine
    judges: Judges
    _seen_by: dict[str, tuple[ClipScorer, StoredImageDetector | None]] = field(default_factory=dict)  # by audit hash

    def judged_by(self, setup: AuditConfig) -> tuple[ClipScorer, StoredImageDetector | None]:
        """The judge of one target's audit, and the second one where there is one. Raises LoadError where one cannot be loaded."""
        if setup.audit_hash not in self._seen_by:
            read = _reader(self.engine.store)
            scorer = self.judges.scorer(setup.judge, setup.dossier, setup.store_folder, read, setup.detector)
            second = self.judges.second(setup.second_judge, scorer, setup.store_folder, read) if setup.second_judge else None
            self._seen_by[setup.audit_hash] = (scorer, second)
        return self._seen_by[setup.audit_hash]

    def audit(self, setup: AuditConfig) -> tuple[Audit, dict[str, Any]]:
        """The audit of one target, with the facts that the manifest gives of models, judge and machine."""
        scorer, second = self.judged_by(setup)
        observations = Observations(setup.plan, self.engine, scorer, second)
        return Audit(observations, Damage(observations)), self._facts(setup, scorer, second)

    def _facts(self, setup: AuditConfig, scorer: ClipScorer, second: StoredImageDetector | None) -> dict[str, Any]:
        from dmun_audit.render.sampling import differences

        samplers = self.engine.samplers
        sampling = setup.policy.sampling
        return {
            "models": {
                "base": _model_facts(setup.base, self.base),
                "candidate": _model_facts(setup.candidate, self.candidate),
            },
            "judge": _judge_facts(setup, scorer, second),
            "sampler": self.engine.sampler
            | {
                "size": list(self.engine.size),
                "dtype": sampling.dtype,
                "batch": sampling.batch,
                "threads": sampling.threads,
            },
            "candidate_sampler": samplers["candidate"].settings,
            "hardware": devices.describe_hardware(),
            "warnings": [
                *differences(samplers["base"], samplers["candidate"]),
                *self.base.proof.get("warnings", []),
                *self.candidate.proof.get("warnings", []),
                *shortfalls(setup.plan),
            ],
        }


def open_runtime(setups: Sequence[AuditConfig], on_rendered: Callable[[int], None]) -> AuditRuntime:
    """Load everything for these setups, which share models, policy and store.

    Raises LoadError where a model or a judge cannot be loaded or does not prove what it loaded, and where a dossier's
    prompts are longer than the base reads: before any image is made.
    """
    devices.let_idle_threads_sleep()
    from dmun_audit.judge.opening import Judges
    from dmun_audit.models.external_images import ImageFolder
    from dmun_audit.models.loading import load_candidate, load_pipeline
    from dmun_audit.models.source_files import Source
    from dmun_audit.render.engine import Engine
    from dmun_audit.store.images import ImageStore

    setup = setups[0]
    sampling = setup.policy.sampling
    devices.use_threads(sampling.threads)
    device = devices.choose_device()
    settings: dict[str, Any] = {"dtype": sampling.dtype, "device": device, "trust_remote_code": setup.trust_remote_code}
    planned = {side: Source(digest, setup.source_states.get(side, "")) for side, digest in setup.source_digests.items()}
    base = load_pipeline(references.parse_reference(setup.base), planned=planned["base"], **settings)
    candidate = load_candidate(references.parse_reference(setup.candidate), base, planned=planned["candidate"], **settings)
    if isinstance(candidate.image_source, ImageFolder):
        candidate.image_source.expect(
            (request.prompt, request.seed) for each in setups for request in each.plan.candidate_requests()
        )
    engine = Engine({"base": base, "candidate": candidate}, sampling, ImageStore(setup.store_folder), on_rendered)
    runtime = AuditRuntime(base, candidate, engine, Judges(device))
    for each in setups:
        runtime.judged_by(each)
        _refuse_overlong(base.pipeline, each)
    return runtime


def assemble(setup: AuditConfig, on_rendered: Callable[[int], None]) -> tuple[Audit, dict[str, Any]]:
    """The audit of one target alone; facts and errors are those of `AuditRuntime.audit` and `open_runtime`."""
    return open_runtime([setup], on_rendered).audit(setup)


def base_engine(base: references.ModelReference, sampling: Sampling, store_folder: Path) -> Engine:
    """An engine for one complete model alone: it draws, and judges nothing."""
    devices.let_idle_threads_sleep()
    from dmun_audit.models.loading import load_pipeline
    from dmun_audit.render.engine import Engine
    from dmun_audit.store.images import ImageStore

    devices.use_threads(sampling.threads)
    loaded = load_pipeline(base, dtype=sampling.dtype, device=devices.choose_device())
    return Engine({"base": loaded}, sampling, ImageStore(store_folder))


def _model_facts(reference: str, model: Any) -> dict[str, Any]:
    return {
        "reference": reference,
        "source_digest": model.source_digest,
        "weights_digest": model.weights_digest,
        "proof": model.proof,
    }


def _judge_facts(setup: AuditConfig, scorer: ClipScorer, second: StoredImageDetector | None) -> dict[str, Any]:
    """Reference and digest of the judge, and within it of the detector and the second judge where these are others."""
    facts: dict[str, Any] = {"reference": setup.judge, "digest": scorer.judge.digest}
    others = {"detector": scorer.detector, "second": second}
    return facts | {role: {"reference": each.reference, "digest": each.digest} for role, each in others.items() if each}


def _reader(store: Any) -> Callable[[Any], list[Any]]:
    def read(keys: Any) -> list[Any]:
        found = [store.read(key) for key in keys]
        if any(pixels is None for pixels in found):
            raise LoadError("an image vanished from the store while it was judged", "", "run the same command again")
        return found

    return read


def _refuse_overlong(pipeline: Any, setup: AuditConfig) -> None:
    too_long = overlong_prompts(pipeline, setup)
    if too_long:
        raise LoadError(
            f"{len(too_long)} prompts are longer than the text encoder of {setup.base} reads, such as {too_long[0]!r}",
            "what is beyond its length would be cut off silently",
            "shorten them in the dossier",
        )


def overlong_prompts(pipeline: Any, setup: AuditConfig) -> list[str]:
    """Prompts of the plan that have more tokens than the pipeline's first text encoder reads."""
    tokenizer = getattr(pipeline, "tokenizer", None)
    if tokenizer is None:
        return []
    dossier = setup.dossier
    texts = [
        *dossier.target.direct_prompts,
        *(prompt for concept in dossier.concepts for prompt in concept.prompts),
        *(prompt.text for prompt in dossier.adversarial),
    ]
    return [text for text in texts if len(tokenizer(text).input_ids) > tokenizer.model_max_length]
