"""Opens models, judge and store for a resolved audit: the one place where torch comes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit import references
from dmun_audit.audit import Audit
from dmun_audit.errors import LoadError
from dmun_audit.judge.reference import ATELIER_JUDGE
from dmun_audit.render import devices
from dmun_audit.setup import Setup

if TYPE_CHECKING:
    from dmun_audit.policy import Sampling
    from dmun_audit.render.engine import Engine


def assemble(setup: Setup, on_rendered: Callable[[int], None]) -> tuple[Audit, dict[str, Any]]:
    """Load everything and return the audit with the facts that the manifest gives of models, judge and machine.

    Raises LoadError where a model or the judge cannot be loaded or does not prove what it loaded.
    """
    devices.be_patient()
    from dmun_audit.judge.clip import ClipJudge, judge_facts
    from dmun_audit.judge.eye import Eye
    from dmun_audit.models.loading import load_candidate, load_pipeline
    from dmun_audit.render.engine import Engine
    from dmun_audit.store.embeddings import EmbeddingStore
    from dmun_audit.store.images import ImageStore

    sampling = setup.policy.sampling
    devices.use_threads(sampling.threads)
    device = devices.choose_device()
    base_reference = references.parse_reference(setup.base)
    candidate_reference = references.parse_reference(setup.candidate)
    base = load_pipeline(base_reference, dtype=sampling.dtype, device=device)
    candidate = load_candidate(candidate_reference, base_reference, dtype=sampling.dtype, device=device)
    judge = ClipJudge(_judge_reference(setup.judge), device)
    store = ImageStore(setup.store_folder)
    engine = Engine({"base": base, "candidate": candidate}, sampling, store, on_rendered)
    too_long = overlong_prompts(base.pipeline, setup)
    if too_long:
        raise LoadError(
            f"{len(too_long)} prompts are longer than the text encoder of {setup.base} reads, such as {too_long[0]!r}",
            "what is beyond its length would be cut off silently",
            "shorten them in the dossier",
        )
    eye = Eye(judge, setup.dossier, EmbeddingStore(setup.store_folder, judge.digest), _reader(store))
    facts = {
        "models": {
            "base": _model_facts(setup.base, base),
            "candidate": _model_facts(setup.candidate, candidate),
        },
        "judge": judge_facts(judge) | {"reference": setup.judge},
        "sampler": engine.sampler
        | {
            "size": list(engine.size),
            "dtype": sampling.dtype,
            "batch": sampling.batch,
            "threads": sampling.threads,
        },
        "hardware": devices.describe_hardware(),
        "warnings": [
            *base.proof.get("warnings", []),
            *candidate.proof.get("warnings", []),
            *setup.plan.shortfalls(),
        ],
    }
    return Audit(setup.plan, engine, eye), facts


def base_engine(base: references.ModelReference, sampling: Sampling, store_folder: Path) -> Engine:
    """An engine for one complete model alone: it draws, and judges nothing."""
    devices.be_patient()
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


def _judge_reference(text: str) -> str:
    return f"local-dir:{references.atelier_judge()}" if text == ATELIER_JUDGE else text


def _reader(store: Any) -> Callable[[Any], list[Any]]:
    def read(keys: Any) -> list[Any]:
        found = [store.read(key) for key in keys]
        if any(pixels is None for pixels in found):
            raise LoadError("an image vanished from the store while it was judged", "", "run the same command again")
        return found

    return read


def overlong_prompts(pipeline: Any, setup: Setup) -> list[str]:
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
