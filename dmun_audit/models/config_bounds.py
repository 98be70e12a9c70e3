"""Bounds on the numbers in configurations of networks, schedulers and tokenizers, checked before anything is built from them.

A configuration decides how many layers are built and how large they are. The names and shapes in the headers of the weights bound
it: no network has more layers than tensors, and no width that is larger than every side of a tensor. Each function returns what
is wrong in words, or an empty text. Nothing here reads files or loads torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FEWEST_LAYERS = 64  # that are bearable whatever the tensors say: small networks share or omit some
MOST_LAYERS = 1_000  # FLUX has 57, SDXL 70, the largest language models 126
LARGEST_WIDTH = 1 << 18  # where no header bounds it; the widest layers of published networks have 53,248 numbers
WIDTH_OF_NO_TENSOR = 1 << 15  # a configuration may also describe what the file leaves out, such as the other half of CLIP
SLACK = 4  # times the longest side: fused tensors are longer than the widths that they are made of, or shorter
LARGEST_VOCABULARY = 1 << 21  # the largest published has 262,208 entries
MOST_POSITIONS = 1 << 24  # Llama 4 declares 10,485,760
LARGEST_IMAGE = 1 << 17  # pixels, latents or samples of a side
MOST_GRID_NUMBERS = 1 << 28  # of a table of positions that is computed: 2 GB in float64; SD 3.5 Medium has 226 million
LARGEST_RATIO = 1 << 16
LARGEST_SCALE = 10_000.0  # SD's scaling factor is 0.18, AutoencoderDC's 0.41
DEEPEST = 32
MOST_ITEMS = 10_000  # of one list
MOST_TIMESTEPS = 100_000  # every published scheduler has 1,000
LARGEST_SETTING = 1e6  # of a scheduler; SVD's largest sigma is 700
LONGEST_PROMPT = 1 << 24  # tokens
MOST_EXTRA_TOKENS = 10_000  # T5 has 100
NO_LIMIT = 10**18  # transformers writes 10^30 for a tokenizer without a limit

_LAYERS = {"layers", "blocks", "depth", "depths", "resblocks"}
_WIDTHS = {"channels", "dim", "dims", "width", "features", "heads", "groups", "kernel", "embeds", "classes", "experts"}
_WIDTHS |= {"buckets", "vectors", "tiles", "embd", "embedding", "rank"}
_WIDTH_KEYS = {
    "d_model",
    "d_ff",
    "d_kv",
    "d_inner",
    "n_head",
    "n_inner",
    "hidden_size",
    "intermediate_size",
    "kernel_size",
    "patch_size",
}
_RATIOS = {"ratio", "mult", "multiplier", "expansion"}
_POSITIONS = re.compile(r"position|seq_len|sequence|window|max_length|n_ctx|context_len")
_IMAGE = re.compile(r"(sample|image|crop|input)_(size|width|height)|(image|video)_(length)")
_MAY_BE_INFINITE = {"lambda_min_clipped", "time_step_limit"}  # of DPM-Solver; of Mamba
_NO_NUMBERS = {"id2label", "label2id", "task_specific_params"}


@dataclass(frozen=True)
class Headers:
    """What the headers of a component's weights declare: how many tensors, and the longest side of any."""

    tensors: int
    longest_side: int

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Headers:
        """The bounds that the shapes of the tensors give, by name."""
        full = [shape for shape in shapes.values() if 0 not in shape]  # an empty tensor may declare any side
        return cls(len(shapes), max((side for shape in full for side in shape), default=0))


def network_fault(table: Mapping[str, Any], headers: Headers | None) -> str:
    """What is absurd in the configuration of a network; empty where nothing is. `headers` are None where weights are pickled."""
    most_layers = max(min(headers.tensors, MOST_LAYERS), FEWEST_LAYERS) if headers else MOST_LAYERS
    widest = max(SLACK * headers.longest_side, WIDTH_OF_NO_TENSOR) if headers else LARGEST_WIDTH
    shown = f"its weights have {headers.tensors:,} tensors, the longest side {headers.longest_side:,}" if headers else ""
    try:
        for inner in _tables(table):
            for key, numbers in _numbers(inner):
                most = _most(key, most_layers, widest)
                if most is not None and max(numbers, default=0) > most:
                    return _too_large(key, max(numbers), most, shown if most in {most_layers, widest} else "")
                if fault := _latent_fault(key, numbers):
                    return fault
            if fault := _product_fault(inner, most_layers, shown) or _grid_fault(inner):
                return fault
    except ValueError as error:
        return str(error)
    return ""


def scheduler_fault(table: Mapping[str, Any]) -> str:
    """What is absurd in the configuration of a scheduler; empty where nothing is."""
    try:
        for key, numbers in _numbers(table):
            if key == "num_train_timesteps" and not all(1 <= number <= MOST_TIMESTEPS for number in numbers):
                return f"{key} is {numbers[0]:g}, and a schedule has 1 to {MOST_TIMESTEPS:,} steps"
            if key in {"beta_start", "beta_end", "trained_betas"} and not all(0 <= number <= 1 for number in numbers):
                return f"{key} is not between 0 and 1"
            largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0)
            if largest > LARGEST_SETTING:
                return _too_large(key, largest, LARGEST_SETTING, "")
    except ValueError as error:
        return str(error)
    steps = table.get("num_train_timesteps")
    return "" if steps is None or type(steps) is int else f"num_train_timesteps is {steps!r}, no whole number"


def tokenizer_fault(table: Mapping[str, Any]) -> str:
    """What is absurd in the settings of a tokenizer; empty where nothing is."""
    extra = table.get("extra_ids")
    if isinstance(extra, int | float) and not 0 <= extra <= MOST_EXTRA_TOKENS:
        return f"extra_ids is {extra:g}, and T5 has 100 such tokens"
    limits = {"model_max_length": table.get("model_max_length"), "max_length": table.get("max_length")}
    for part in ("padding", "truncation"):  # of tokenizer.json
        settings = table.get(part)
        if isinstance(settings, Mapping):
            strategy = settings.get("strategy")
            limits |= {f"{part}.max_length": settings.get("max_length"), f"{part}.multiple": settings.get("pad_to_multiple_of")}
            limits[f"{part}.strategy"] = strategy.get("Fixed") if isinstance(strategy, Mapping) else None
    for key, limit in limits.items():
        if isinstance(limit, int | float) and (limit < -1 or LONGEST_PROMPT < limit < NO_LIMIT):
            return f"{key} is {limit:g}, and no prompt has so many tokens"
    return ""


def _most(key: str, most_layers: int, widest: int) -> float | None:
    """The largest number that a key of a network's configuration may have; None where nothing bounds it."""
    words = set(re.split(r"[_\W]+", key.lower()))
    if "vocab" in words:
        return LARGEST_VOCABULARY
    if _POSITIONS.search(key):
        return MOST_POSITIONS
    if _IMAGE.fullmatch(key):
        return LARGEST_IMAGE
    if words & _RATIOS:
        return LARGEST_RATIO
    if key in _WIDTH_KEYS or words & _WIDTHS:
        return widest
    if words & _LAYERS or key == "n_layer":
        return most_layers
    return None


def _product_fault(table: Mapping[str, Any], most_layers: int, shown: str) -> str:
    """Layers within blocks within stages: their product is the number of layers that are built."""
    numbers = dict(_numbers(table))
    per_block = {key: max(values, default=0) for key, values in numbers.items() if key.endswith("layers_per_block")}
    within = max((number for key, number in per_block.items() if "transformer" in key), default=1)
    each = max((number for key, number in per_block.items() if "transformer" not in key), default=1)
    stages = max(
        (len(value) for key, value in table.items() if key.endswith(("block_types", "block_out_channels")) and _is_list(value)),
        default=1,
    )
    total = max(within, 1) * max(each, 1) * max(stages, 1)
    if (per_block or stages > 1) and total > most_layers:
        return _too_large("the number of layers of all blocks", total, most_layers, shown)
    return ""


def _grid_fault(table: Mapping[str, Any]) -> str:
    """Transformers compute a table of positions for every patch of an image. It stands in no header."""
    numbers = {key: max(values, default=0) for key, values in _numbers(table)}
    width = numbers.get("num_attention_heads", 0) * numbers.get("attention_head_dim", 0) or numbers.get("hidden_size", 0)
    kind = str(table.get("_class_name"))
    sides = []
    if "patch_size" in numbers and ("3D" not in kind or "Latte" in kind):  # networks for videos have no image size
        sides = [numbers[key] / max(numbers["patch_size"], 1) for key in numbers if _IMAGE.fullmatch(key)]
    if "pos_embed_max_size" in numbers and "AuraFlow" not in kind:  # there it counts all positions
        sides.append(numbers["pos_embed_max_size"])
    largest = max(sides, default=0)
    if largest**2 * width > MOST_GRID_NUMBERS:
        return f"its positions form a grid of {largest:,.0f} × {largest:,.0f}, each of {width:,.0f} numbers, too many to compute"
    return ""


def _latent_fault(key: str, numbers: list[float]) -> str:
    if key in {"scaling_factor", "latents_std"} and not all(0 < number <= LARGEST_SCALE for number in numbers):
        return f"{key} is not above 0 and at most {LARGEST_SCALE:,.0f}"
    if key in {"shift_factor", "latents_mean"} and not all(abs(number) <= LARGEST_SCALE for number in numbers):
        return f"{key} is not between ±{LARGEST_SCALE:,.0f}"
    return ""


def _too_large(key: str, number: float, most: float, shown: str) -> str:
    return f"{key} is {_written(number)}, and at most {_written(most)} makes sense" + (f": {shown}" if shown else "")


def _written(number: float) -> str:
    return f"{number:,.0f}" if abs(number) < 1e15 else f"{number:.3g}"


def _tables(table: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The table and those below it. Raises ValueError where they nest too deep."""
    waiting = [(0, table)]
    while waiting:
        depth, inner = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"its tables nest more than {DEEPEST} deep")
        yield inner
        tables = (value for key, value in inner.items() if isinstance(value, Mapping) and key not in _NO_NUMBERS)
        waiting += [(depth + 1, value) for value in tables]


def _numbers(table: Mapping[str, Any]) -> Iterator[tuple[str, list[float]]]:
    """The numbers of each key; those of lists within lists are taken together. Raises ValueError for lists too long or deep.

    A number that is not finite raises ValueError too, except under the keys `_MAY_BE_INFINITE`.
    """
    for key, value in table.items():
        if isinstance(value, Mapping) or key in _NO_NUMBERS:
            continue
        numbers: list[float] = []
        waiting = [(0, value)]
        while waiting:
            depth, item = waiting.pop()
            if _is_list(item):
                if depth > DEEPEST or len(item) > MOST_ITEMS:
                    raise ValueError(f"{key} is a list of more than {MOST_ITEMS:,} items, or nests more than {DEEPEST} deep")
                waiting += [(depth + 1, inner) for inner in item]
            elif isinstance(item, int | float) and not isinstance(item, bool):
                if not math.isfinite(item) and key not in _MAY_BE_INFINITE:
                    raise ValueError(f"{key} is {item}, no finite number")
                numbers.append(item)
        if numbers:
            yield key, numbers


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
