"""What decides an image besides weights: tokenizers and configurations. A difference between candidate and base is a warning."""

from __future__ import annotations

from typing import Any

from dmun_audit._util.errors import LoadError
from dmun_audit.models.fingerprint import modules, pipeline_settings, settings_of


def differing_settings(pipeline: Any, base: Any) -> list[str]:
    """Warnings where the candidate reads prompts or computes in another way than its base.

    Raises LoadError where a tokenizer has words that its text encoder has no embedding for.
    """
    warnings = []
    one, other = pipeline_settings(pipeline), pipeline_settings(base)
    for key in sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)):
        warnings.append(f"the pipeline's {key} is {one.get(key, 'not set')} and the base's {other.get(key, 'not set')}")
    for name in sorted(pipeline.components):
        ours, theirs = pipeline.components[name], base.components.get(name)
        if ours is None or theirs is None or (name not in modules(pipeline) and not hasattr(ours, "get_vocab")):
            continue
        if hasattr(ours, "get_vocab"):
            _require_embeddings(pipeline, name, ours)
            if settings_of(ours) != settings_of(theirs):
                warnings.append(
                    f"the {name.replace('_', ' ')} is not the base's: it reads prompts as other words, so the candidate is "
                    "no edit of this base alone"
                )
        elif settings_of(ours) != settings_of(theirs):
            warnings.append(
                f"the configuration of the {name.replace('_', ' ')} is not the base's: {_first_difference(ours, theirs)}"
            )
    return warnings


def _require_embeddings(pipeline: Any, name: str, tokenizer: Any) -> None:
    encoder = pipeline.components.get(name.replace("tokenizer", "text_encoder"))
    embeddings = encoder.get_input_embeddings() if hasattr(encoder, "get_input_embeddings") else None
    largest = max(tokenizer.get_vocab().values(), default=0)
    if embeddings is not None and largest >= embeddings.num_embeddings:
        raise LoadError(
            f"the {name.replace('_', ' ')} has {largest + 1:,} words and its text encoder embeddings for {embeddings.num_embeddings:,}",
            "it is another model's tokenizer",
            "save the pipeline again with the tokenizer that belongs to it",
        )


def _first_difference(ours: Any, theirs: Any) -> str:
    one, other = settings_of(ours), settings_of(theirs)
    if not isinstance(one, dict) or not isinstance(other, dict):
        return "they have other fields"
    key = min(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return f"{key} is {one.get(key)!r} and the base's {other.get(key)!r}"
