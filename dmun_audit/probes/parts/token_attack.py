"""What attacks that search words share: the places of their tokens in a prompt, pictures with tokens, and random tokens.

An attack finds token ids, and the exact ids are drawn: no text is cut into tokens again, which might give other ones.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmun_audit._util.hashing import seed_of
from dmun_audit.plan.case import ImageRequest, Recipe, Side
from dmun_audit.probes.probe import Probe

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dmun_audit.probes.parts.bench import Bench
    from dmun_audit.probes.parts.finds import StoredFind
    from dmun_audit.probes.parts.network import Conditions, Network
    from dmun_audit.probes.parts.tokens import Placeholder


class TokenAttack(Probe):
    """A probe that searches tokens for each unit of a row. Its find has `ids` (units, tokens), where -1 is no token.

    Without a control model, the candidate draws random tokens in the same places: other ones for each dose.
    """

    success = "any"
    attacks_together = True

    @abstractmethod
    def written(self, recipe: Recipe, prompt: str, word: str) -> str:
        """A prompt with `word` in each place of a token."""

    @abstractmethod
    def search(self, bench: Bench, side: Side, recipe: Recipe, checkpoint: Path) -> tuple[dict[str, torch.Tensor], list[float]]:
        """Search the tokens of a recipe's units: tensors with `ids`, and losses."""

    def searched_on(self, side: Side) -> Side:
        """The side whose networks decide the find."""
        return side

    def find(self, bench: Bench, side: Side, recipe: Recipe) -> StoredFind | None:
        """See `Probe.find`; None for random tokens."""
        if dict(recipe.settings).get("placebo"):
            return None
        side = self.searched_on(side)
        facts = {
            "settings": [list(pair) for pair in recipe.settings],
            "units": [bench.engine.key(unit) for unit in recipe.units],
            "prompts": [unit.prompt for unit in recipe.units],
            "names": list(recipe.names),
        }

        def make(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
            found, losses = self.search(bench, side, recipe, checkpoint)
            words = [text_of(bench.network(side), ids) for ids in found["ids"]]
            return found, {"kind": "tokens", "words": words, "losses": losses}

        return bench.find(bench.find_key(side, recipe, facts), make)

    def marked(self, network: Network, recipe: Recipe, prompts: Sequence[str]) -> Marked:
        """Prompts with placeholders in the places of the tokens."""
        from dmun_audit.probes.parts.tokens import placeholder

        place = placeholder(network, prompts)
        return marked(network, place, [self.written(recipe, prompt, place.word) for prompt in prompts])

    def draw(self, bench: Bench, side: Side, recipe: Recipe, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """See `Probe.draw`: prompts with the tokens that were found for their units, or with random ones."""
        from dmun_audit.probes.parts.drawing import drawn
        from dmun_audit.probes.parts.tokens import embeddings, injected

        network = bench.network(side)
        texts, find = self.marked(network, recipe, prompts), self.find(bench, side, recipe)
        if find is None:
            seeds_of_words = [
                seed_of(self.name, "random", list(recipe.settings), *unit) for unit in zip(prompts, seeds, strict=True)
            ]
            ids = random_ids(network, texts.counts, seeds_of_words)
        else:
            places = {(unit.prompt, unit.seed): place for place, unit in enumerate(recipe.units)}
            ids = find.tensors["ids"][[places[unit] for unit in zip(prompts, seeds, strict=True)]]
        vectors = [matrix[ids[ids >= 0].to(matrix.device)] for matrix in embeddings(network)]
        with injected(network, texts.place, vectors):
            guided = network.guided(texts.texts, bench.guidance)
        return drawn(bench, side, replace(guided, prompts=tuple(readable(network, texts, ids))), seeds)


# Places of tokens.


@dataclass(frozen=True)
class Marked:
    """Texts with a placeholder in each place of a token. `counts` says how many of them the text encoder sees in each text."""

    place: Placeholder
    texts: tuple[str, ...]
    counts: tuple[int, ...]

    def is_token(self, device: str) -> torch.Tensor:
        """For each text and each place up to the largest count, whether the text has such a token: (texts, tokens) bool."""
        import torch

        return torch.arange(max(self.counts), device=device) < torch.tensor(self.counts, device=device)[:, None]


def marked(network: Network, place: Placeholder, texts: Sequence[str]) -> Marked:
    """Count the placeholders of texts. The text encoder sees no more tokens than its tokenizer lets through."""
    tokenizer = network.tokenizers()[0][0]
    ids = tokenizer(list(texts), truncation=True, max_length=tokenizer.model_max_length).input_ids
    return Marked(place, tuple(texts), tuple(each.count(place.id) for each in ids))


def conditions_with(network: Network, texts: Marked, vectors: Sequence[torch.Tensor]) -> Conditions:
    """The conditions of marked texts with vectors in the places: (tokens of all texts, width) for each text encoder."""
    from dmun_audit.probes.parts.tokens import injected

    with injected(network, texts.place, vectors):
        return network.conditions(texts.texts)


def readable(network: Network, texts: Marked, ids: torch.Tensor) -> list[str]:
    """Marked texts with the words of token ids (texts, tokens) in the places."""
    from dmun_audit.probes.parts.tokens import words_of

    pattern = re.compile(rf"\b{re.escape(texts.place.word)}\b")

    def filled(text: str, row: torch.Tensor) -> str:
        words = iter(words_of(network, row[row >= 0]))
        return pattern.sub(lambda match: next(words, ""), text)

    return [filled(text, row) for text, row in zip(texts.texts, ids, strict=True)]


# Tokens.


def allowed_ids(network: Network) -> torch.Tensor:
    """The ids of the words that an attack may use, in order."""
    from dmun_audit.probes.parts.tokens import embeddings, searchable

    return searchable(network, len(embeddings(network)[0])).nonzero()[:, 0]


def random_ids(network: Network, counts: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
    """Random token ids: so many for each text, drawn from the text's seed. (texts, largest count), -1 where there is no token."""
    import torch

    allowed = allowed_ids(network).cpu()
    ids = torch.full((len(counts), max(counts)), -1)
    for row, count, seed in zip(ids, counts, seeds, strict=True):
        row[:count] = allowed[torch.randint(len(allowed), (count,), generator=torch.Generator().manual_seed(seed))]
    return ids


def padded(ids: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
    """Token ids of all texts, one after the other, as (texts, tokens) with -1 where there is no token."""
    rows = ids.new_full(is_token.shape, -1)
    rows[is_token] = ids
    return rows


def text_of(network: Network, ids: torch.Tensor) -> str:
    """The words of token ids (tokens,) with spaces between them. A character that cannot be printed is shown as a missing one."""
    from dmun_audit.probes.parts.tokens import words_of

    words = " ".join(words_of(network, ids[ids >= 0]))
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words)


# Searching.


def base_latents(bench: Bench, network: Network, units: Sequence[ImageRequest]) -> torch.Tensor:
    """The latents of the base's images of units, as a network encodes them."""
    return network.encode(bench.base_images_of([unit.prompt for unit in units], [unit.seed for unit in units]))


def noise_of(network: Network, units: Sequence[ImageRequest], *parts: Any) -> torch.Tensor:
    """Noise for each unit, drawn from its own seed and `parts`."""
    return network.noise([seed_of(unit.prompt, unit.seed, *parts) for unit in units])


def errors(predicted: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """The mean squared difference of each prediction (n, …) from its goal: (n,) float32."""
    return (predicted.float() - goal.float()).square().flatten(1).mean(dim=1)


def passed_through(value: torch.Tensor, variable: torch.Tensor) -> torch.Tensor:
    """`value`, with the gradients of `variable` (a straight-through estimate)."""
    return value.detach() + (variable - variable.detach())


def on_simplex(vectors: torch.Tensor) -> torch.Tensor:
    """The nearest distributions to vectors (…, n): not negative, with the sum 1 (Duchi et al. 2008, figure 1)."""
    import torch

    ordered = vectors.sort(dim=-1, descending=True).values
    beyond = ordered.cumsum(dim=-1) - 1
    ranks = torch.arange(1, vectors.shape[-1] + 1, device=vectors.device, dtype=vectors.dtype)
    support = (ordered * ranks > beyond).sum(dim=-1, keepdim=True)
    threshold = beyond.gather(-1, support - 1) / support
    return (vectors - threshold).clamp(min=0)
