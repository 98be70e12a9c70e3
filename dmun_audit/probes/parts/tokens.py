"""Free tokens: vectors that an attack puts into the text encoders in the place of a word.

A prompt gets a placeholder, a rare word of one token. While the prompt is encoded, the embedding of that token is replaced. Stable
Diffusion XL has two text encoders with one vocabulary: each gets vectors of its own width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from dmun_audit._util.errors import UsageError
from dmun_audit.probes.parts.network import Network


@dataclass(frozen=True)
class Placeholder:
    """A word of one token that no prompt has: its text, and its id in the vocabulary."""

    word: str
    id: int


def placeholder(network: Network, prompts: Sequence[str]) -> Placeholder:
    """A placeholder for prompts: the last word of the vocabulary that is one token and that none of them has.

    Raises UsageError if the vocabulary has no such word.
    """
    tokenizer = network.tokenizers()[0][0]
    used = {token for ids in tokenizer(list(prompts)).input_ids for token in ids}
    special = set(tokenizer.all_special_ids)
    for token in range(len(tokenizer) - 1, -1, -1):
        if token in used or token in special:
            continue
        word = _text(tokenizer, token)
        if word.isascii() and word.isalpha() and all(each(word).input_ids[1:-1] == [token] for each, _ in network.tokenizers()):
            return Placeholder(word, token)
    raise UsageError("the tokenizer has no unused word of one token", "an attack puts its tokens in the place of such a word")


def embeddings(network: Network) -> list[torch.Tensor]:
    """The embeddings of the whole vocabulary, (words, width) float32, one matrix for each text encoder."""
    return [encoder.get_input_embeddings().weight.detach().float() for _, encoder in network.tokenizers()]


def searchable(network: Network, words: int) -> torch.Tensor:
    """For each of the vocabulary's words, whether an attack may use it: no mark of start, end or padding. (words,) bool."""
    allowed = torch.ones(words, dtype=torch.bool)
    tokenizer = network.tokenizers()[0][0]
    allowed[list(tokenizer.all_special_ids)] = False
    allowed[len(tokenizer) :] = False
    return allowed.to(network.device)


def words_of(network: Network, ids: torch.Tensor) -> list[str]:
    """The words of token ids (k,), each by itself."""
    tokenizer = network.tokenizers()[0][0]
    return [_text(tokenizer, token) for token in ids.tolist()]


def _text(tokenizer: Any, token: int) -> str:
    """The text of a token. CLIP marks the end of a word, which some tokenizers keep."""
    return str(tokenizer.decode([token])).removesuffix("</w>").strip()


@contextmanager
def injected(network: Network, place: Placeholder, vectors: Sequence[torch.Tensor]) -> Iterator[None]:
    """Put vectors in the place of the placeholder while prompts are encoded.

    `vectors` has one tensor for each text encoder: (width,) for one vector everywhere, or (n, k, width) for k placeholders in each of n
    prompts. Prompts without a placeholder, such as the negative prompt, stay as they are. Gradients flow to the vectors.
    """
    hooks = []
    for (_, encoder), vector in zip(network.tokenizers(), vectors, strict=True):

        def hook(module: Any, inputs: tuple[Any, ...], output: torch.Tensor, vector: torch.Tensor = vector) -> torch.Tensor:
            where = inputs[0].reshape(output.shape[:-1]) == place.id
            if not where.any():
                return output
            given = vector.to(output.device, output.dtype).reshape(-1, output.shape[-1])
            given = given.expand(int(where.sum()), -1) if len(given) == 1 else given
            return output.masked_scatter(where[..., None], given)

        hooks.append(encoder.get_input_embeddings().register_forward_hook(hook))
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def behind_tokens(prompts: Sequence[str], place: Placeholder, count: int) -> list[str]:
    """Each prompt behind `count` placeholders."""
    return [" ".join([place.word] * count + [prompt]) for prompt in prompts]
