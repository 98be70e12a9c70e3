"""Pipelines that a Python caller passes: private copies, with the digest that the pipeline has when a folder is its source.

The caller's pipeline is never changed. A copy has modules and a scheduler of its own. It shares tokenizers, and the numbers of
the weights where type and device are the same: such a copy costs little memory. (On a CPU, `align` copies weights that lie
unaligned.)
"""

from __future__ import annotations

import copy
import logging
import time
import uuid
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.models.comparison import tensor_counts
from dmun_audit.models.fingerprint import PLAIN_TENSORS, digests, main_dtype, modules, require_finite, settings_of
from dmun_audit.models.folders import first_line
from dmun_audit.models.headers import CHECKERS
from dmun_audit.models.loaded import LoadedModel, OpenedPipeline
from dmun_audit.models.proof import LoadReport
from dmun_audit.models.references import PIPELINE, ModelReference
from dmun_audit.models.standard_build import changes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class InMemoryModel:
    """A pipeline in memory as the model of an audit, on either side.

    `pipeline` is a copy that shares the numbers of its weights with the caller's pipeline: these must stay as they are until the
    audit has ended. `weights_digest` is the digest in the types that the weights have now. `changes` are sentences about what the
    pipeline computes besides its configuration and weights; where there are any, its images are used in this audit alone, and
    `own_id` is part of its digest.
    """

    pipeline: Any
    name: str
    weights_digest: str
    changes: tuple[str, ...]
    own_id: str
    tensors_digest: str

    @property
    def reference(self) -> ModelReference:
        """How manifest, messages and folder names refer to the model."""
        return ModelReference(f"{PIPELINE}{self.name}", "memory", None, self.weights_digest)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the pipeline's weights."""
        return main_dtype(self.pipeline)


def in_memory_model(pipeline: Any, name: str | None = None) -> InMemoryModel:
    """A diffusers pipeline as a model. `name` stands for it in reports; the name of its class does, if not given.

    Raises UsageError for any other object. Raises LoadError for weights that are offloaded or quantised, for adapters that are
    not merged, and for what cannot be copied.
    """
    torchvision_compatibility.make_importable()
    from diffusers import DiffusionPipeline

    if not isinstance(pipeline, DiffusionPipeline):
        raise UsageError(
            f"a {type(pipeline).__name__} is no model",
            "",
            "give the text of a model reference, or a diffusers pipeline",
        )
    started = time.monotonic()
    name = name or type(pipeline).__name__
    _refuse_what_cannot_be_copied(pipeline, f"{PIPELINE}{name}")
    dtype = main_dtype(pipeline)
    private = _copy(pipeline, f"{PIPELINE}{name}", dtype=None, own_storage=False)
    own_id = uuid.uuid4().hex
    sentences = tuple(changes(private, dtype))
    of_tensors, digest = digests(private, own_id if sentences else "")
    logger.debug("hashed %s%s in %.2f s: %s", PIPELINE, name, time.monotonic() - started, digest)
    return InMemoryModel(private, name, digest, sentences, own_id, of_tensors)


def open_in_memory(model: InMemoryModel, dtype: torch.dtype, own_storage: bool = False) -> OpenedPipeline:
    """A copy of the model's pipeline in `dtype`, on the same device; with `own_storage` its weights may be edited in place.

    Raises LoadError, naming the tensor, where a number is NaN or infinite.
    """
    pipeline = _copy(model.pipeline, model.reference.text, dtype, own_storage)
    for component, network in modules(pipeline).items():
        require_finite(f"{model.reference.text}: {component}", network.state_dict())
    same_types = _types(pipeline) == _types(model.pipeline)
    sentences = model.changes if same_types else tuple(changes(pipeline, dtype))
    notes = [f"{sentence}: its images are used in this audit alone" for sentence in sentences]
    return OpenedPipeline(
        pipeline,
        LoadReport("pipeline in memory", tensor_counts(pipeline), notes=notes),
        model.own_id if sentences else "",
        model.weights_digest if same_types else "",
        model.tensors_digest if same_types else "",
    )


def duplicate(model: LoadedModel) -> OpenedPipeline:
    """A second pipeline like a loaded one, on the CPU, whose weights may be edited in place."""
    pipeline = _copy(model.pipeline, model.reference.text, dtype=None, own_storage=True)
    pipeline.to("cpu")
    return OpenedPipeline(pipeline, LoadReport(model.proof["format"], tensor_counts(pipeline)), model.beyond_weights)


def sibling(model: LoadedModel) -> OpenedPipeline:
    """A second pipeline like a loaded one, on its device, that shares the memory of its weights.

    Modules and tokenizers are its own. A weight may be replaced by another tensor, and must not be written into.
    """
    pipeline = _copy(model.pipeline, model.reference.text, dtype=None, own_storage=False, own_tokenizers=True)
    report = LoadReport(model.proof["format"], tensor_counts(pipeline))
    return OpenedPipeline(pipeline, report, model.beyond_weights, hashed=model.hashed)


def copy_to_draw_with(model: LoadedModel) -> Any:
    """A pipeline like a loaded one, on its device, that shares tokenizers and the memory of its weights. See `sibling`."""
    return _copy(model.pipeline, model.reference.text, dtype=None, own_storage=False)


def _copy(pipeline: Any, name: str, dtype: torch.dtype | None, own_storage: bool, own_tokenizers: bool | None = None) -> Any:
    """A pipeline of the same parts in evaluation mode, without a safety checker. Weights are in `dtype`, or keep their types.

    Whoever edits the weights may add words too, so the tokenizers are copied where the weights are, if not said otherwise.
    """
    own_tokenizers = own_storage if own_tokenizers is None else own_tokenizers
    memo: dict[int, Any] = {}
    for network in modules(pipeline).values():
        in_state = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
        for tensor_name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            value = tensor.detach()
            if dtype is not None and value.is_floating_point() and id(tensor) in in_state:
                value = value.to(torch.float32 if _stays_single(network, tensor_name, value, dtype) else dtype)
            if own_storage and value.data_ptr() == tensor.data_ptr():
                value = value.clone()
            memo[id(tensor)] = nn.Parameter(value, requires_grad=False) if isinstance(tensor, nn.Parameter) else value
    memo |= {id(part): part for part in pipeline.components.values() if _is_shared(part, own_tokenizers)}
    try:
        private = copy.deepcopy(pipeline, memo)
    except Exception as error:  # whatever the caller's own objects raise
        raise LoadError(
            f"{name} cannot be copied", first_line(error), "save it with save_pretrained, and give its folder"
        ) from error
    for checker in CHECKERS & private.components.keys():
        setattr(private, checker, None)
    if "requires_safety_checker" in private.config:
        private.register_to_config(requires_safety_checker=False)
    for network in modules(private).values():
        network.eval()
    private.set_progress_bar_config(disable=True)
    return private


def _is_shared(part: Any, own_tokenizers: bool) -> bool:
    """Whether a component is used as it is: a tokenizer, unless words may be added to it.

    A tokenizer with scores (T5's) is always used as it is: a copy goes through JSON text, and that changes the last digits of the
    scores.
    """
    if not hasattr(part, "get_vocab"):
        return False
    return not own_tokenizers or settings_of(copy.deepcopy(part)) != settings_of(part)


def _stays_single(network: nn.Module, name: str, value: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether the libraries keep a tensor in float32 when they load the network in `dtype`."""
    if dtype == torch.float32 or value.dtype != torch.float32:
        return False
    parts = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    if isinstance(network, transformers.PreTrainedModel):
        strict = set(network._keep_in_fp32_modules_strict or ())
        parts = strict | (parts if dtype == torch.float16 else set())
    return not parts.isdisjoint(name.split("."))


def _types(pipeline: Any) -> list[torch.dtype]:
    return [value.dtype for network in modules(pipeline).values() for value in network.state_dict().values()]


def _refuse_what_cannot_be_copied(pipeline: Any, name: str) -> None:
    if not modules(pipeline):
        raise LoadError(f"{name} holds no networks")
    for component, network in modules(pipeline).items():
        if getattr(network, "peft_config", None):
            raise LoadError(
                f"{name} has adapters that are not merged into the {component}",
                "their strength is no weight, so no digest could tell two strengths apart",
                "call fuse_lora() and unload_lora_weights() of the pipeline first, or give the adapter's file as the candidate",
            )
        tensors = [*network.parameters(), *network.buffers()]
        if any(hasattr(module, "_hf_hook") for module in network.modules()) or any(tensor.is_meta for tensor in tensors):
            raise LoadError(
                f"{name} keeps weights of the {component} out of memory",
                "offloading moves them while images are made",
                "call remove_all_hooks() of the pipeline, or give it before offloading is enabled",
            )
        odd = next((tensor for tensor in tensors if type(tensor) not in PLAIN_TENSORS), None)
        if odd is not None or getattr(network, "is_quantized", False):
            kind = type(odd).__name__ if odd is not None else "quantised numbers"
            raise LoadError(
                f"{name} has weights of the {component} that are {kind}", "", "give the pipeline before it is quantised"
            )
