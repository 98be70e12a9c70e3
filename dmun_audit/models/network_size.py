"""The size of the network that a configuration describes, before it takes memory: it must fit the weights beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from dmun_audit._util.errors import LoadError
from dmun_audit.models.files.safetensors_header import read_header

SLACK = 2  # times the numbers of the weights: a file stores tied tensors once
ALWAYS_SMALL = 1_000_000  # numbers; a network of so few takes no memory to speak of


def require_fitting_size(folder: Path, network_class: Any, files: Sequence[Path]) -> None:
    """Raise LoadError where the configuration in `folder` describes a much larger network than its weights `files` hold.

    The libraries would fill the rest with random numbers, gigabytes of them, before they say what is missing.
    """
    numbers = _numbers_of_configuration(folder, network_class)
    held = sum(_numbers_of_file(file) for file in files)
    if numbers > SLACK * held + ALWAYS_SMALL:
        raise LoadError(
            f"{folder / 'config.json'} describes a network of {numbers:,} numbers",
            f"its weights hold {held:,} at most",
            "save or download the component again",
        )


def _numbers_of_file(file: Path) -> int:
    if file.suffix == ".safetensors":
        return sum(math.prod(shape) for shape in read_header(file).shapes.values())
    return file.stat().st_size  # a pickle holds no more numbers than bytes


def _numbers_of_configuration(folder: Path, network_class: Any) -> int:
    """How many numbers the parameters have; 0 where the network cannot be built, of which loading it gives the reason."""
    try:
        if issubclass(network_class, transformers.PreTrainedModel):
            config = network_class.config_class.from_pretrained(str(folder), local_files_only=True)
            with torch.device("meta"):
                network = network_class(config)
        else:
            from accelerate import init_empty_weights

            settings = network_class.load_config(str(folder), local_files_only=True)
            with init_empty_weights():
                network = network_class.from_config(settings)
    except Exception:  # the libraries raise errors of every class for a configuration that contradicts itself
        return 0
    return sum(parameter.numel() for parameter in network.parameters())
