"""Makes a pipeline faster on a GPU. The loop over steps stays diffusers'.

"layout" stores the weights of convolutions (UNet, autoencoder) as channels last, which tensor cores read without a copy, and lets the
autoencoder decode large batches image by image. "compiled" does that too, and compiles the repeated blocks of the denoiser and the
decoder of the autoencoder. Both may change the last bits of an image, so the level is part of its key.

Queries, keys and values are not fused into one product (`fuse_qkv_projections`): that makes new weights, so base and candidate would
share no attention weights any more, and saves a few launches of kernels that compiled blocks save too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.render import devices
from dmun_audit.render.defaults import denoiser

if TYPE_CHECKING:
    import torch

    from dmun_audit.models.fingerprint import MemoryPlace
    from dmun_audit.models.loaded import LoadedModel

Level = Literal["none", "layout", "compiled"]
Asked = Literal["auto", "none", "layout", "compiled"]

SLICED_OVER = 4 * 1024 * 1024  # pixels of a batch: decoding needs about 3 kB for each in half precision
VARIANTS = 64  # compiled forms of one block: its sizes in the network, with and without guidance; torch allows 8

logger = logging.getLogger(__name__)


def common_level(asked: Asked, models: Iterable[LoadedModel], *, is_offloaded: bool = False) -> Level:
    """The level of all `models` of an audit: `asked`, as this machine resolves it.

    Code of a model's own may change from call to call, so no model is compiled beside one that has some. Neither are models that
    are offloaded: moving weights takes longer than compiled code could save.
    """
    level = devices.acceleration(asked)
    if level != "compiled":
        return level
    why = "models are offloaded" if is_offloaded else "a model has code of its own"
    if is_offloaded or any(model.beyond_weights for model in models):
        logger.warning('%s, so no model is compiled: acceleration is "layout"', why)
        return "layout"
    return level


def keep_compiled_code(folder: Path) -> None:
    """Let torch's compiler keep its results in `folder`, also for later processes. A user's own setting is kept."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.absolute()))


def decodes_in_slices(pixels: int) -> bool:
    """Whether a batch of so many pixels is decoded image by image."""
    return pixels > SLICED_OVER


def accelerate(pipeline: Any, level: Level, sliced: bool, base: tuple[Any, Any] | None = None) -> None:
    """Make a pipeline faster. With `sliced` its autoencoder decodes image by image.

    `base` is the base's pipeline as loaded, and the one that was made faster: convolutions that `pipeline` shares with the first
    one are taken from the second one.
    """
    if level == "none":
        return
    _use_channels_last(pipeline, {} if base is None else _laid_out_before(*base))
    if sliced and hasattr(getattr(pipeline, "vae", None), "use_slicing"):
        pipeline.vae.enable_slicing()
    if level == "compiled":
        _compile(pipeline)


@contextmanager
def compiler_errors(level: Level) -> Iterator[None]:
    """Turn an error of torch's compiler into a UsageError."""
    if level != "compiled":
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise UsageError(
            "the model cannot be compiled on this machine",
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
            'set sampling.acceleration = "layout" in the policy',
        ) from error


def _convolutional(pipeline: Any) -> dict[str, torch.nn.Module]:
    networks = {name: getattr(pipeline, name, None) for name in ("unet", "vae")}
    return {name: network for name, network in networks.items() if network is not None}


def _use_channels_last(pipeline: Any, laid_out: Mapping[MemoryPlace, torch.Tensor]) -> None:
    import torch

    from dmun_audit.models.fingerprint import memory_place

    for network in _convolutional(pipeline).values():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dim() == 4:
                before = laid_out.get(memory_place(tensor))
                tensor.data = tensor.data.to(memory_format=torch.channels_last) if before is None else before


def _laid_out_before(loaded: Any, drawn_with: Any) -> dict[MemoryPlace, torch.Tensor]:
    """The weights of a pipeline's convolutions in their new layout, by where they lie in the pipeline as loaded."""
    from dmun_audit.models.fingerprint import memory_place

    laid_out: dict[MemoryPlace, torch.Tensor] = {}
    for name, network in _convolutional(loaded).items():
        faster = getattr(drawn_with, name).state_dict()
        laid_out |= {
            memory_place(tensor): faster[key]
            for key, tensor in network.state_dict().items()
            if tensor.dim() == 4 and not faster[key].is_meta  # where layers are offloaded, hooks hold the numbers
        }
    return laid_out


def _compile(pipeline: Any) -> None:
    """Let the blocks of the denoiser and the decoder be compiled when they are first used, for fixed shapes."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    network = denoiser(pipeline)
    blocks = network._repeated_blocks or network._no_split_modules
    if blocks:
        network._repeated_blocks = blocks  # diffusers names none for SD3, PixArt, AuraFlow and Sana
        network.compile_repeated_blocks(dynamic=False)
    else:
        network.compile(dynamic=False)
    if hasattr(getattr(pipeline, "vae", None), "decoder"):
        pipeline.vae.decoder.compile(dynamic=False)
