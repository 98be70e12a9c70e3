"""SPM: one-dimensional adapters whose strength depends on the prompt (Lyu et al. 2023, arXiv 2312.16145).

The adapter adds scale · up·down to what a module computes, as a LoRA does, but its strength m follows the prompt ("facilitated
transport", §3.4). Each erased concept has two similarities to the prompt: the cosine of the last hidden states of both texts,
with all positions flattened into one vector, and the share of the concept's tokens that the prompt has. m is the largest of all
these. The released code multiplies both `lora_up` and `lora_down` by m, so the change enters with m². This follows the code,
because the published figures were made with it. m holds for both halves of classifier-free guidance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.models.artifacts.layout import DENOISERS, Layout, LowRank, Shapes, actual_name
from dmun_audit.models.artifacts.lora import lay_out_lora
from dmun_audit.models.files.contents import Contents

if TYPE_CHECKING:
    import torch


def is_spm(contents: Contents) -> bool:
    """Whether the file is an SPM: its metadata name the erased prompts."""
    return "prompts" in contents.metadata and any(name.endswith(".lora_down.weight") for name in contents.shapes)


def lay_out_spm(contents: Contents, base: Shapes) -> Layout:
    """Where the pairs of an SPM go. Raises LoadError where its metadata lack the erased prompts or the scale."""
    prompts = contents.metadata["prompts"].split(",")
    if not all(prompt.strip() for prompt in prompts):
        raise LoadError(
            f"{contents.path} is an SPM that names an empty prompt",
            f"its metadata say prompts = {contents.metadata['prompts']!r}",
        )
    scale = _number(contents, "alpha") / _number(contents, "rank")
    plain = lay_out_lora(contents, base)
    flat = [pair.down for pair in plain.low_rank if len(contents.shapes[pair.down]) != len(base[pair.component][pair.place])]
    if flat:
        raise LoadError(
            f"{contents.path}: tensor {flat[0]!r} is of shape {list(contents.shapes[flat[0]])}",
            "an SPM runs beside its module: a convolution's has four dimensions, a linear layer's two",
        )
    odd = [pair.down for pair in plain.low_rank if pair.component not in DENOISERS]
    if odd:
        raise LoadError(
            f"{contents.path} is an SPM with a tensor outside the denoiser: {odd[0]!r}", "as published it has none there"
        )
    return replace(
        plain,
        format=f"SPM ({len(plain.low_rank)} modules)",
        low_rank=tuple(replace(pair, scale=scale) for pair in plain.low_rank),
        adapter="spm",
        settings={"prompts": tuple(prompts)},
        notes=(
            f"SPM of {', '.join(repr(prompt) for prompt in prompts)}: its strength follows each prompt (facilitated transport), applied "
            "as the released code applies it; loaded as a plain LoRA it would be another model",
        ),
    )


def _number(contents: Contents, key: str) -> float:
    text = contents.metadata.get(key, "1")
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise LoadError(f"{contents.path} is an SPM with {key} = {text!r} in its metadata", "", "save it again")
    return value


class SpmAdapter:
    """An SPM on a pipeline. `set_prompts` sets the strength for the prompts of the next batch."""

    def __init__(self, pipeline: Any, layout: Layout, contents: Contents) -> None:
        self._pipeline = pipeline
        self._erased = list(layout.settings["prompts"])
        self._strengths: dict[str, float] = {}
        self._rows: list[float] = []
        hashed = []
        for pair in layout.low_rank:
            network = getattr(pipeline, pair.component)
            module = network.get_submodule(actual_name(network, pair.place).removesuffix(".weight"))
            module.register_forward_hook(self._hook(module, pair, contents))
            hashed.append([pair.place, pair.scale])
        self.digest = digest(["spm", self._erased, hashed])

    def set_prompts(self, prompts: Sequence[str]) -> None:
        """Set the strength of each row of the next batch by its prompt."""
        self._rows = [self.strength(prompt) for prompt in prompts]

    def strength(self, prompt: str) -> float:
        """m of one prompt: 1 for an erased concept itself, and less for a prompt that is less like any of them."""
        if prompt not in self._strengths:
            self._strengths[prompt] = max(max(cosine, shared) for cosine, shared in self._similarities(prompt))
        return self._strengths[prompt]

    def _similarities(self, prompt: str) -> list[tuple[float, float]]:
        import torch

        hidden, tokens = self._read([prompt, *self._erased])
        cosines = torch.cosine_similarity(hidden[:1].flatten(1), hidden[1:].flatten(1), dim=-1).tolist()
        special = set(self._pipeline.tokenizer.convert_tokens_to_ids(list(self._pipeline.tokenizer.special_tokens_map.values())))
        own = set(tokens[0]) - special
        wanted = [set(row) - special for row in tokens[1:]]
        shares = [len(own & needed) / len(needed) if needed else 0.0 for needed in wanted]
        return list(zip(cosines, shares, strict=True))

    def _read(self, texts: list[str]) -> tuple[torch.Tensor, list[list[int]]]:
        """Last hidden states after the final norm (texts, positions, width), and the tokens of each text."""
        import torch

        tokenizer, encoder = self._pipeline.tokenizer, self._pipeline.text_encoder
        read = tokenizer(texts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            hidden = encoder(read.input_ids.to(self._pipeline._execution_device)).last_hidden_state  # also where it is offloaded
        return hidden.float(), read.input_ids.tolist()

    def _hook(self, module: Any, pair: LowRank, contents: Contents) -> Any:
        weight = module.weight
        down, up = (contents.tensor(name).to(weight.dtype).clone() for name in (pair.down, pair.up))
        kept: Mapping[str, Any] = {"down": down, "up": up}

        def add(layer: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            import torch.nn.functional as F

            first = inputs[0]
            factors = {name: tensor.to(first.device) for name, tensor in kept.items()}
            m = first.new_tensor(self._rows).repeat(first.shape[0] // max(len(self._rows), 1))
            m = m.view(-1, *[1] * (output.dim() - 1))
            if down.dim() == 4:
                inner = F.conv2d(first, factors["down"], stride=layer.stride, padding=layer.padding)
                return output + F.conv2d(inner * m, factors["up"].flatten(1)[..., None, None]) * m * pair.scale
            return output + F.linear(F.linear(first, factors["down"]) * m, factors["up"]) * m * pair.scale

        return add
