"""Prompts as arguments of a pipeline: embeddings, each encoded once, for known families; texts for all others."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

from dmun_audit.render.defaults import call_defaults

EMBEDDING = re.compile(r"(negative_)?(pooled_)?prompt_(embeds|attention_mask)(_\w+)?")
_TEXT = "prompt_embeds", "negative_prompt_embeds"
_POOLED = "pooled_prompt_embeds", "negative_pooled_prompt_embeds"
_MASKED = "prompt_attention_mask", "negative_prompt_attention_mask"
# The names of what `encode_prompt` returns, by the embeddings that `__call__` takes and the number of values returned. None
# stands for a value that the pipeline makes again itself. A pipeline with any other combination gets its prompts as texts.
FAMILIES: dict[tuple[frozenset[str], int], tuple[str | None, ...]] = {
    (frozenset(_TEXT), 2): _TEXT,  # Stable Diffusion 1 and 2
    (frozenset(_TEXT + _POOLED), 4): (*_TEXT, *_POOLED),  # SDXL, SD3
    (frozenset(_TEXT + _POOLED), 3): ("prompt_embeds", "pooled_prompt_embeds", None),  # FLUX, and the ids of its tokens
    (frozenset(_TEXT + _MASKED), 4): (_TEXT[0], _MASKED[0], _TEXT[1], _MASKED[1]),  # PixArt, Sana, AuraFlow
}


class Prompts:
    """The prompts of one pipeline with one negative prompt ("" is the pipeline's own default)."""

    def __init__(self, pipeline: Any, device: str, negative: str) -> None:
        self._pipeline = pipeline
        self._device = device
        self._negative = negative
        self._encoded: dict[str, dict[str, Any]] = {}
        self._encoded_negative: dict[str, Any] | None = None
        self._call = call_defaults(pipeline)
        self._settings: dict[str, Any] = {}
        if hasattr(pipeline, "encode_prompt"):
            taken = inspect.signature(pipeline.encode_prompt).parameters
            fixed = {"device": device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False, "clean_caption": False}
            if negative:
                fixed["negative_prompt"] = negative
            both = {name: default for name, default in self._call.items() if default is not inspect.Parameter.empty} | fixed
            self._settings = {name: value for name, value in both.items() if name in taken}

    def arguments(self, texts: Sequence[str]) -> dict[str, Any]:
        """The arguments of `__call__` for one image of each text."""
        import torch

        positive = [self._positive(text) for text in texts]
        negative = self._negatives()
        # Each batch decides by its own prompts alone: what a process has drawn before must not change an image.
        alike = all(
            part[name].shape == positive[0][name].shape == negative.get(f"negative_{name}", part[name]).shape
            for part in positive
            for name in part
        )
        if not alike or not all(positive):
            as_texts: dict[str, Any] = {"prompt": list(texts)}
            return as_texts | ({"negative_prompt": [self._negative] * len(texts)} if self._negative else {})
        rows = {name: [part[name] for part in positive] for name in positive[0]}
        rows |= {name: [value] * len(texts) for name, value in negative.items()}
        joined: dict[str, Any] = {name: torch.cat(values).to(self._device) for name, values in rows.items()}
        # The default of PixArt is "", which it would use as a second negative prompt beside the embeddings.
        return joined | ({"negative_prompt": None} if negative and "negative_prompt" in self._call else {})

    def _positive(self, text: str) -> dict[str, Any]:
        if text not in self._encoded:
            embeddings = self._encode(text, guided=False)
            self._encoded[text] = {name: value for name, value in embeddings.items() if not name.startswith("negative_")}
        return self._encoded[text]

    def _negatives(self) -> dict[str, Any]:
        if self._encoded_negative is None:
            embeddings = self._encode("", guided=True) if "do_classifier_free_guidance" in self._settings else {}
            self._encoded_negative = {name: value for name, value in embeddings.items() if name.startswith("negative_")}
        return self._encoded_negative

    def _encode(self, text: str, *, guided: bool) -> dict[str, Any]:
        """The embeddings of one prompt, by their names in `__call__`; {} where the family is not known."""
        import torch

        if not self._settings:
            return {}
        arguments = {"prompt": text} | ({"do_classifier_free_guidance": True} if guided else {})
        with torch.inference_mode():
            encoded = self._pipeline.encode_prompt(**(self._settings | arguments))
        takes = frozenset(name for name in self._call if EMBEDDING.fullmatch(name))
        names = FAMILIES.get((takes, len(encoded)), ()) if isinstance(encoded, tuple) else ()
        named = {name: value for name, value in zip(names, encoded, strict=False) if name is not None and value is not None}
        if not all(isinstance(value, torch.Tensor) for value in named.values()):
            return {}
        # They stay in main memory: T5-XXL's states of one prompt for FLUX have 8 MB.
        return {name: value.cpu() for name, value in named.items()}
