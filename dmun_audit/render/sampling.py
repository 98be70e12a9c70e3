"""Samplers: each draws the images of one model, batch by batch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from dmun_audit._util.errors import UsageError
from dmun_audit.models.external_images import DrawingFunction, ImageFolder
from dmun_audit.models.loaded import LoadedModel
from dmun_audit.policy import Sampling
from dmun_audit.render.acceleration import compiler_errors
from dmun_audit.render.defaults import call_defaults, check_size, default_guidance, default_steps, denoiser, image_size
from dmun_audit.render.drawing import Drawing, Execution, drawing_of
from dmun_audit.render.profiles import BlockCache, in_profile
from dmun_audit.render.prompts import Prompts
from dmun_audit.render.rechecks import Repeats
from dmun_audit.render.schedulers import replacement

# Some pipelines would change the size that was asked for, or would clean prompts where certain libraries are installed.
SWITCHED_OFF = ("use_resolution_binning", "clean_caption")
AS_LOADED = Execution()


class Sampler(Protocol):
    """What makes the images of one side, as the engine uses it."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides an image besides weights, prompt, seed and size, as plain values. It is part of every image's key."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image, in pixels."""

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> Iterable[np.ndarray]:
        """One image for every prompt and its seed, in order, each (height, width, 3) uint8."""


def open_sampler(
    model: LoadedModel,
    sampling: Sampling,
    device: str,
    like: Sampler | None = None,
    *,
    only_size: bool = False,
    execution: Execution = AS_LOADED,
) -> Sampler:
    """The sampler of `model`. `like` is the sampler of the base, where `model` is its candidate.

    `execution` says how pipelines are run. With `only_size`, the candidate shares the base's size alone, and its steps and
    guidance come from `sampling`. Raises UsageError where the sampling does not suit the model.
    """
    if model.image_source is not None:
        return ExternalSampler(model.image_source, like.size if like is not None else (0, 0))
    return PipelineSampler(model, sampling, device, like, only_size=only_size, execution=execution)


class ExternalSampler:
    """Images of a folder, or of a function that draws. `size` is the base's; theirs may be any."""

    def __init__(self, image_source: DrawingFunction | ImageFolder, size: tuple[int, int]) -> None:
        self._image_source = image_source
        self.settings = image_source.settings
        self.size = size
        self.repeats: Repeats = image_source.repeats

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        """One image for every prompt and its seed, each (height, width, 3) uint8."""
        return self._image_source.sample(prompts, seeds)

    def differences(self) -> list[str]:
        """A sentence for each way in which the form of the images is not the base's."""
        return self._image_source.differences(self.size)


class PipelineSampler:
    """Samples from a diffusers pipeline of any family; the parameters of its `__call__` tell how.

    Steps, guidance and size come from the policy, or else from the pipeline. Where `like` is given they come from there, because
    the two images of a pair must share them; with `only_size`, the size alone does. The scheduler is the pipeline's own unless the policy names one. The model's
    pipeline is not changed. Raises UsageError where the policy does not suit the pipeline.
    """

    def __init__(
        self,
        model: LoadedModel,
        sampling: Sampling,
        device: str,
        like: Sampler | None = None,
        *,
        only_size: bool = False,
        execution: Execution = AS_LOADED,
    ) -> None:
        shared_with = like._model.pipeline if isinstance(like, PipelineSampler) and not only_size else None
        sampling = in_profile(model.pipeline, sampling, shared_with)
        self._model: LoadedModel = model
        self._cache = BlockCache(model.pipeline, sampling.cache)
        self._batch = sampling.batch_size
        self._device = device
        self._execution = execution
        self._negative = sampling.negative_prompt
        self._like = like
        self._pipeline = _with_scheduler(model.pipeline, sampling)
        self._takes = call_defaults(self._pipeline)
        self.size = like.size if like is not None else wanted_size(self._pipeline, sampling)
        check_size(self._pipeline, self.size)
        shared = like.settings if like is not None and not only_size else {}
        self.settings = describe_sampler(self._pipeline, sampling) | {key: shared[key] for key in SHARED if key in shared}
        self._output_type = "pt" if _gives_tensors(self._pipeline) else "np"
        self._check_negative(sampling.negative_prompt)

    @property
    def denoiser(self) -> str:
        """The class of the network that removes the noise."""
        return type(denoiser(self._pipeline)).__name__

    @property
    def scheduler(self) -> Any:
        """The scheduler that it draws with."""
        return self._pipeline.scheduler

    def over(self, pipeline: Any) -> PipelineSampler:
        """A sampler with the same settings that draws with `pipeline`, a changed copy of the model's."""
        other = copy.copy(self)
        other.__dict__.pop("_prompts", None)
        other.__dict__["drawing"] = Drawing(_with_this_scheduler(pipeline, self.scheduler), lambda: None)
        return other

    @cached_property
    def drawing(self) -> Drawing:
        """What draws. It is made when the first image is drawn: on a cluster, other processes draw."""
        like = self._like
        base = (like._model.pipeline, like.drawing.pipeline) if isinstance(like, PipelineSampler) else None
        made = drawing_of(self._model, self._execution, self._batch * self.size[0] * self.size[1], self._device, base)
        return replace(made, pipeline=_with_this_scheduler(made.pipeline, self._pipeline.scheduler))

    @cached_property
    def _prompts(self) -> Prompts:
        return Prompts(self.drawing.pipeline, self._device, self._negative)

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One image for every prompt and its seed, at most `sampling.batch` of them: (n, height, width, 3) uint8.

        The batch is filled up with copies of its last image, because batches of another size give other last bits. An adapter of
        the model gets the prompts of the whole batch first.
        """
        import torch

        if not 0 < len(prompts) <= self._batch:
            raise ValueError(f"{len(prompts)} prompts for a batch of {self._batch}.")
        missing = self._batch - len(prompts)
        texts, numbers = [*prompts, *[prompts[-1]] * missing], [*seeds, *[seeds[-1]] * missing]
        height, width = self.size
        pipeline = self.drawing.pipeline  # made outside of inference mode: its weights must stay plain tensors
        with (
            torch.inference_mode(),
            warnings.catch_warnings(),
            compiler_errors(self._execution.acceleration),
            self._cache.enabled(pipeline),
        ):
            warnings.simplefilter("ignore")  # libraries warn about themselves; nobody who runs an audit can act on that
            arguments = self._prompts.arguments(texts)
            if self._model.set_prompts is not None:
                self._model.set_prompts(texts)
            try:
                output = pipeline(
                    **arguments,
                    **{name: False for name in SWITCHED_OFF if name in self._takes},
                    generator=[torch.Generator("cpu").manual_seed(number) for number in numbers],
                    num_inference_steps=self.settings["steps"],
                    guidance_scale=self.settings["guidance"],
                    height=height,
                    width=width,
                    output_type=self._output_type,
                )
            finally:
                self.drawing.put_back()
            return _pixels(output.images[: len(prompts)])

    def _check_negative(self, negative: str) -> None:
        """Raise UsageError for a negative prompt that the pipeline would ignore: the manifest would name it without an effect."""
        strength = self._takes.get("true_cfg_scale", self.settings["guidance"])
        if negative and ("negative_prompt" not in self._takes or strength <= 1):
            raise UsageError(
                f"sampling.negative_prompt = {negative!r} would do nothing",
                f"{type(self._pipeline).__name__} uses a negative prompt only with classifier-free guidance above 1",
                "leave it out" if "true_cfg_scale" in self._takes else "leave it out, or raise sampling.guidance",
            )


SHARED = ("steps", "guidance")


def _gives_tensors(pipeline: Any) -> bool:
    """Whether the output "pt" of a pipeline is that of diffusers' image processor: numbers from 0 to 1, (n, 3, height, width)."""
    from diffusers.image_processor import VaeImageProcessor

    return type(pipeline).__module__.startswith("diffusers.") and isinstance(
        getattr(pipeline, "image_processor", None), VaeImageProcessor
    )


def _pixels(images: Any) -> np.ndarray:
    """(n, height, width, 3) uint8 of numbers from 0 to 1: tensors are rounded on their device, so that bytes leave it."""
    import torch

    if isinstance(images, torch.Tensor):
        levels = (images.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return np.asarray(levels.cpu().numpy())
    return (np.asarray(images) * 255).round().astype(np.uint8)


def wanted_size(pipeline: Any, sampling: Sampling) -> tuple[int, int]:
    """(height, width) in pixels: the policy's, or the pipeline's own."""
    return image_size(pipeline) if sampling.size == "model" else (sampling.size, sampling.size)


def describe_sampler(pipeline: Any, sampling: Sampling) -> dict[str, Any]:
    """Scheduler with its settings, steps, guidance and, where there are any, negative prompt and cache, as plain values."""
    scheduler = pipeline.scheduler
    settings = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    guidance = default_guidance(pipeline) if sampling.guidance == "model" else sampling.guidance
    return {
        "scheduler": type(scheduler).__name__,
        "settings": {key: value if isinstance(value, str | int | bool) else str(value) for key, value in settings.items()},
        "steps": default_steps(pipeline) if sampling.steps == "model" else sampling.steps,
        "guidance": float(guidance),
        **({"negative_prompt": sampling.negative_prompt} if sampling.negative_prompt else {}),
        **({"cache": sampling.cache} if sampling.cache != "none" else {}),
    }


def differences(base: Sampler, candidate: Sampler) -> list[str]:
    """A warning, in one sentence, for each difference between the images of a pair that does not come from weights."""
    sentences = candidate.differences() if isinstance(candidate, ExternalSampler) else []
    ours, theirs = base.settings, candidate.settings
    if "scheduler" in ours and "scheduler" in theirs:
        one, other = dict(ours["settings"]), dict(theirs["settings"])
        predicts = one.pop("prediction_type", "epsilon"), other.pop("prediction_type", "epsilon")
        changed = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
        if ours["scheduler"] != theirs["scheduler"]:
            sentences.append(
                f"The candidate's scheduler is {theirs['scheduler']}, the base's {ours['scheduler']}: images of a pair also differ "
                "by their schedulers, unless the policy names one for both (sampling.scheduler)."
            )
        elif changed:
            examples = ", ".join(f"{key} {one.get(key)} → {other.get(key)}" for key in changed[:3])
            sentences.append(f"The candidate's {theirs['scheduler']} has other settings than the base's ({examples}).")
        if predicts[0] != predicts[1]:
            sentences.append(f"The candidate predicts {predicts[1]}, the base {predicts[0]}: it is no edit of this base.")
    if isinstance(base, PipelineSampler) and isinstance(candidate, PipelineSampler) and base.denoiser != candidate.denoiser:
        sentences.append(
            f"The candidate's denoiser is a {candidate.denoiser}, the base's a {base.denoiser}: another family of models."
        )
    return sentences


def _with_scheduler(pipeline: Any, sampling: Sampling) -> Any:
    return _with_this_scheduler(pipeline, replacement(pipeline.scheduler, sampling.scheduler))


def _with_this_scheduler(pipeline: Any, scheduler: Any) -> Any:
    if scheduler is pipeline.scheduler:
        return pipeline
    with_scheduler = copy.copy(pipeline)
    with_scheduler.scheduler = scheduler
    return with_scheduler
