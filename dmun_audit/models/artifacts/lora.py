"""LoRA, LoCon and DoRA adapters: where their tensors go, and the weights that they make.

It reads the names of diffusers, peft and kohya's trainer. Every name is looked up among the base's own modules, so nothing is
guessed or dropped. (The loader of diffusers drops DoRA magnitudes, and drops tensors without a place with a warning.)

W' = W + (alpha / rank) · B·A (Hu et al. 2021, arXiv 2106.09685, §4.1); with a magnitude m, W' = m · V / ‖V‖ of V = W + (alpha /
rank) · B·A, the norm over each output's weights (Liu et al. 2024, arXiv 2402.09353, eq. 5).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.layout import Layout, LowRank, Part, Shapes, no_place
from dmun_audit.models.artifacts.lora_names import OTHER_ADAPTERS, Home, Places, naming_scheme_of, role_of
from dmun_audit.models.artifacts.naming import Source
from dmun_audit.models.files.contents import Contents
from dmun_audit.models.source_files import adapter_config

if TYPE_CHECKING:
    import torch

REBASED = ("pissa", "olora", "corda", "loftq")
CHANGES_THE_FORMULA = (
    "layer_replication",
    "fan_in_fan_out",
    "lora_bias",
    "use_qalora",
    "trainable_token_indices",
    "megatron_config",
)
LONGEST_PATTERN = 300


def lay_out_lora(contents: Contents, base: Shapes) -> Layout:
    """Where the low-rank pairs of an adapter go. Raises LoadError, naming the tensor, where one has no place or no partner."""
    modules: dict[str, dict[str, str]] = {}
    rest = []
    for name in contents.shapes:
        module, role = role_of(name)
        if not role:
            rest.append(name)
        elif role in modules.setdefault(module, {}):
            raise LoadError(f"{contents.path}: module {module!r} has two tensors for {role}", f"one of them is {name!r}")
        else:
            modules[module][role] = name
    odd = [name for name in contents.shapes if OTHER_ADAPTERS.search(name)]
    if odd:
        raise LoadError(
            f"{contents.path} holds an adapter that is no LoRA or DoRA",
            f"it has tensors such as {odd[0]!r} (LoHa, LoKr, OFT and the like), which this version does not load",
            "merge it into the model and save the whole pipeline folder (save_pretrained)",
        )
    places = Places(base)
    homes = {module: places.find(module) for module in modules}
    full = {name: places.find_tensor(name) for name in rest}  # peft's modules_to_save: tensors as they are
    without_place = [next(iter(modules[module].values())) for module, targets in homes.items() if not targets]
    without_place += [name for name, home in full.items() if home is None]
    if without_place:
        raise no_place(contents.path, without_place, len(contents.shapes), "any module of the base", places.known)
    scales = _Scales(contents, {module: targets[0].component for module, targets in homes.items()})
    _refuse_twice(contents, [(home, module) for module, targets in homes.items() for home in targets])
    adapted = {(home.component, home.place) for targets in homes.values() for home in targets}
    _refuse_twice(contents, [(home, name) for name, home in full.items() if home is not None], adapted)
    pairs = tuple(_pair(contents, module, roles, home, scales) for module, roles in modules.items() for home in homes[module])
    parts = tuple(Part(home.component, home.place, Source(name)) for name, home in full.items() if home is not None)
    kind = "DoRA" if any(pair.magnitude for pair in pairs) else "LoRA"
    return Layout(
        f"{kind} ({naming_scheme_of(modules)} names)",
        parts,
        pairs,
        notes=(*scales.notes(len(modules)), *_may_be_spm(pairs, modules)),
    )


def _may_be_spm(pairs: Collection[LowRank], modules: Collection[str]) -> tuple[str, ...]:
    if naming_scheme_of(modules) != "kohya" or any(pair.rank > 1 for pair in pairs):
        return ()
    return ("all pairs are of rank 1: if this is an SPM, its metadata are lost, and its strength no longer follows the prompt",)


def _refuse_twice(contents: Contents, named: list[tuple[Home, str]], taken: Collection[tuple[str, str]] = ()) -> None:
    """Raise LoadError where two names of the file change the same weight of the base."""
    seen: dict[tuple[str, str], str] = dict.fromkeys(taken, "a low-rank pair")
    for home, name in named:
        first = seen.setdefault((home.component, home.place), name)
        if first != name:
            raise LoadError(
                f"{contents.path}: {first!r} and {name!r} are for the same weight",
                f"{home.component} {home.place!r}",
                "remove one of them",
            )


def _pair(contents: Contents, module: str, roles: Mapping[str, str], home: Home, scales: _Scales) -> LowRank:
    for needed, partner in (("down", "up"), ("up", "down")):
        if needed not in roles:
            have = roles.get(partner) or next(iter(roles.values()))
            raise LoadError(
                f"{contents.path}: tensor {have!r} has no partner", f"module {module!r} has no lora_{needed}", "save it again"
            )
    rank = contents.shapes[roles["down"]][0] if contents.shapes[roles["down"]] else 0
    scale = 1.0 if "alpha" in roles else scales.of(module, rank)
    return LowRank(
        home.component,
        home.place,
        roles["down"],
        roles["up"],
        rank,
        roles.get("alpha"),
        scale,
        roles.get("middle"),
        roles.get("magnitude"),
        home.source,
        home.outputs,
    )


class _Scales:
    """alpha / rank of modules without a tensor for it: from the file's metadata, or from adapter_config.json beside the file."""

    def __init__(self, contents: Contents, components: Mapping[str, str]) -> None:
        self._components = components
        declared = list(_declared(contents))
        self._from = dict.fromkeys(where for where, _, _ in declared)
        self._tables = {component: table for _, component, table in declared}
        for table in self._tables.values():
            _require_plain_adapter(contents.path, table)
        self._without = 0

    def of(self, module: str, rank: int) -> float:
        table = self._tables.get(self._components[module], self._tables.get("", {}))
        alphas = table.get("alpha_pattern")
        alphas = alphas if isinstance(alphas, dict) else {}
        inner = re.sub(r"^(base_model\.model\.)?((unet|transformer|text_encoder(_[23])?)\.)?(base_model\.model\.)?", "", module)
        alpha = next((value for pattern, value in alphas.items() if re.match(rf"(.*\.)?({pattern})$", inner)), None)
        alpha = table.get("lora_alpha") if alpha is None else alpha
        if not isinstance(alpha, int | float) or not math.isfinite(alpha) or rank < 1:
            self._without += 1
            return 1.0
        return float(alpha) / (math.sqrt(rank) if table.get("use_rslora") else rank)

    def notes(self, pairs: int) -> tuple[str, ...]:
        """Where the scales come from."""
        notes = tuple(f"alpha is taken from {where}" for where in self._from)
        if not self._without:
            return notes
        return (
            *notes,
            f"{self._without} of {pairs} low-rank pairs state no alpha: taken as alpha = rank, as diffusers does",
        )


def adapter_settings(path: Path) -> dict[str, Any]:
    """The settings in peft's adapter_config.json of the adapter at `path`; {} where there is none."""
    config = adapter_config(path)
    return _table(config, _text_of(config)) if config is not None else {}


def _declared(contents: Contents) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where settings are declared, for which component (empty for all), and the settings."""
    settings = adapter_settings(contents.path)
    if settings:
        yield "adapter_config.json", "", settings
    text = contents.metadata.get("lora_adapter_metadata")
    if text:
        merged: dict[str, dict[str, Any]] = {}
        for key, value in _table(contents.path, text).items():
            component, _, setting = key.rpartition(".")
            merged.setdefault(component, {})[setting] = value
        yield from (("the file's metadata", component, table) for component, table in merged.items())


def _require_plain_adapter(path: Path, settings: Mapping[str, Any]) -> None:
    """Raise LoadError for settings of peft with which the sum of base and low-rank pairs is not the trained model."""
    initial = settings.get("init_lora_weights")
    if isinstance(initial, str) and initial.lower().startswith(REBASED):
        raise LoadError(
            f"{path} is an adapter initialised by {initial}",
            "its base is not --base, but what remained of it when the adapter was split off",
            "convert it to a plain LoRA, or merge it and save the pipeline",
        )
    odd = next((key for key in CHANGES_THE_FORMULA if settings.get(key)), None)
    if odd is not None:
        raise LoadError(
            f"{path} is an adapter with {odd} = {settings[odd]!r}",
            "this version does not apply that",
            "merge it and save the pipeline",
        )
    patterns = settings.get("alpha_pattern")
    for pattern in patterns if isinstance(patterns, dict) else {}:
        try:
            re.compile(pattern)
        except re.error as error:
            raise LoadError(f"{path}: alpha_pattern {pattern!r} is no pattern", str(error)) from None
        if len(pattern) > LONGEST_PATTERN or re.search(r"\)[*+{?]", pattern):
            raise LoadError(f"{path}: alpha_pattern {pattern[:80]!r} is too complex to be matched safely")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read", str(error)) from None


def _table(path: Path, text: str) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise LoadError(f"{path}: the settings of the adapter are no JSON table", "", "save the adapter again")
    return table


# The numbers.


def merged(weight: torch.Tensor, pair: LowRank, contents: Contents) -> torch.Tensor:
    """The weight that `pair` makes of the base's `weight`: the same shape and dtype, computed on the CPU in float32 or wider."""
    import torch

    wide = torch.promote_types(weight.dtype, torch.float32)
    changed = weight.detach().to("cpu", wide) + delta(pair, contents, wide).reshape(weight.shape)
    if pair.magnitude is not None:
        magnitude = contents.tensor(pair.magnitude).to(wide)
        by_input = pair.magnitude.endswith("dora_scale") and magnitude.dim() > 1 and magnitude.shape[0] == 1  # older LyCORIS
        over = [axis for axis in range(weight.dim()) if axis != int(by_input)]
        kept = [length if axis not in over else 1 for axis, length in enumerate(weight.shape)]
        norm = torch.linalg.vector_norm(changed, dim=over, keepdim=True)
        changed = magnitude.reshape(kept) / norm * changed
    return changed.to(weight.dtype)


def delta(pair: LowRank, contents: Contents, dtype: torch.dtype) -> torch.Tensor:
    """scale · up·down of one pair, (outputs, inputs) with the kernel's places among the inputs."""
    import torch

    down, up = (contents.tensor(name).to(dtype) for name in (pair.down, pair.up))
    up = _rows(up, pair)
    if pair.middle is not None:  # LoCon's CP form: the kernel lies between two 1×1 convolutions
        core = contents.tensor(pair.middle).to(dtype)
        joined = torch.einsum("or,rskl,si->oikl", up.flatten(1), core, down.flatten(1))
        return joined.flatten(1) * scale_of(pair, contents)
    return up.flatten(1) @ down.flatten(1) * scale_of(pair, contents)


def _rows(up: torch.Tensor, pair: LowRank) -> torch.Tensor:
    """The rows of `up` for this place: one pair may serve several places, or may have its halves swapped."""
    import torch

    source = pair.source
    if source.rows is not None:
        up = up[source.first_row : source.first_row + pair.outputs]
    return torch.cat(up.chunk(2)[::-1]) if source.swapped else up


def scale_of(pair: LowRank, contents: Contents) -> float:
    """alpha / rank of one pair; an alpha of 0 means the rank, as kohya's trainer reads it."""
    if pair.alpha is None:
        return pair.scale
    return (float(contents.tensor(pair.alpha)) or pair.rank) / pair.rank
