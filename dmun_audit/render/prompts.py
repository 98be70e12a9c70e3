"""Prompts as a pipeline takes them: embeddings, encoded once each, where its family is known; else the texts themselves."""

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
# What `encode_prompt` returns, by the embeddings that `__call__` takes and by how many it returns. None: made again by the
# pipeline itself. Any other pair of the two is a family that is not known, and gets its prompts as texts.
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
            ours = {"device": device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False, "clean_caption": False}
            if negative:
                ours["negative_prompt"] = negative
            both = {name: default for name, default in self._call.items() if default is not inspect.Parameter.empty} | ours
            self._settings = {name: value for name, value in both.items() if name in taken}

    def arguments(self, texts: Sequence[str]) -> dict[str, Any]:
        """The arguments of `__call__` that stand for `texts`, one image each."""
        import torch

        positive = [self._positive(text) for text in texts]
        negative = self._negatives()
        # Decided anew for every batch, by its own prompts alone: what a process has drawn before must not change an image.
        alike = all(
            part[name].shape == positive[0][name].shape == negative.get(f"negative_{name}", part[name]).shape
            for part in positive
            for name in part
        )
        if not alike or not all(positive):
            asked: dict[str, Any] = {"prompt": list(texts)}
            return asked | ({"negative_prompt": [self._negative] * len(texts)} if self._negative else {})
        rows = {name: [part[name] for part in positive] for name in positive[0]}
        rows |= {name: [value] * len(texts) for name, value in negative.items()}
        joined: dict[str, Any] = {name: torch.cat(values).to(self._device) for name, values in rows.items()}
        # PixArt's default is "", which it takes for a second negative prompt beside the embeddings.
        return joined | ({"negative_prompt": None} if negative and "negative_prompt" in self._call else {})

    def _positive(self, text: str) -> dict[str, Any]:
        if text not in self._encoded:
            found = self._encode(text, guided=False)
            self._encoded[text] = {name: value for name, value in found.items() if not name.startswith("negative_")}
        return self._encoded[text]

    def _negatives(self) -> dict[str, Any]:
        if self._encoded_negative is None:
            found = self._encode("", guided=True) if "do_classifier_free_guidance" in self._settings else {}
            self._encoded_negative = {name: value for name, value in found.items() if name.startswith("negative_")}
        return self._encoded_negative

    def _encode(self, text: str, *, guided: bool) -> dict[str, Any]:
        """The embeddings of one prompt by their names in `__call__`; {} where the family is not known."""
        import torch

        if not self._settings:
            return {}
        asked = {"prompt": text} | ({"do_classifier_free_guidance": True} if guided else {})
        with torch.inference_mode():
            found = self._pipeline.encode_prompt(**(self._settings | asked))
        takes = frozenset(name for name in self._call if EMBEDDING.fullmatch(name))
        names = FAMILIES.get((takes, len(found)), ()) if isinstance(found, tuple) else ()
        named = {name: value for name, value in zip(names, found, strict=False) if name is not None and value is not None}
        if not all(isinstance(value, torch.Tensor) for value in named.values()):
            return {}
        # Kept in main memory: of one prompt, T5-XXL's states for FLUX are 8 MB.
        return {name: value.cpu() for name, value in named.items()}
