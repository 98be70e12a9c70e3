"""Decoding under JSON Schemas: llguidance says which tokens may come next, every question draws among them by its own seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.protocol import Question


class Grammar:
    """llguidance bound to one tokenizer: makes a constraint out of JSON Schemas."""

    def __init__(self, tokenizer: Any, width: int) -> None:
        try:
            import llguidance
            import llguidance.hf
            import llguidance.torch
        except ImportError:
            raise UsageError(
                "a language model of transformers needs the package llguidance",
                "it keeps answers to their schema",
                "pip install 'dmun_audit[local]'",
            ) from None
        self.llguidance: Any = llguidance
        self._tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=max(width, len(tokenizer)))

    def constrain(self, questions: Sequence[Question], width: int) -> Any:
        """A logits processor that keeps row i of a batch to the schema of `questions[i]` and samples it by temperature and seed of
        that question; prompts take the first `width` positions."""
        compact = [json.dumps(question.schema | {"x-guidance": {"whitespace_flexible": False}}) for question in questions]
        matcher = self.llguidance.LLMatcher
        sampled = [(question.temperature, question.seed) for question in questions]
        return Constraint(self.llguidance, [self._matcher(matcher, text) for text in compact], sampled, width)

    def _matcher(self, matcher: Any, schema: str) -> Any:
        made = matcher(self._tokens, matcher.grammar_from_json_schema(schema))
        if made.is_error():
            raise ValueError(f"llguidance does not take this schema: {made.get_error()}")
        return made


class Constraint:
    """Masks, at every step and for every row, the tokens that its schema does not allow next, and draws among the others.

    The draw is by the Gumbel-max trick (Gumbel 1954; Maddison et al. 2014, §2): the largest of logits/temperature + Gumbel
    noise is a sample of their softmax. Every row has a generator of its own, so what a question is answered does not
    hang on which others share its batch.
    """

    def __init__(self, llguidance: Any, matchers: list[Any], sampled: list[tuple[float, int]], width: int) -> None:
        import torch

        self._masks = llguidance.torch
        self._matchers = matchers
        self._temperatures = [temperature for temperature, _ in sampled]
        self._generators = [torch.Generator().manual_seed(seed) for _, seed in sampled]
        self._width = width

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores (rows, vocabulary) whose largest is the next token; minus infinity where a token may not stand."""
        import torch

        packed = self._masks.allocate_token_bitmask(len(self._matchers), scores.shape[-1])
        said = input_ids[:, self._width :]
        for row, matcher in enumerate(self._matchers):
            if said.shape[1] and not matcher.is_stopped():
                matcher.consume_token(int(said[row, -1]))
            self._masks.fill_next_token_bitmask(matcher, packed, row)
        # 32 tokens a word, unpacked here: llguidance's own helper compiles a kernel first, which takes seconds.
        bits = (packed.unsqueeze(-1) >> torch.arange(32, dtype=packed.dtype)) & 1
        allowed = bits.flatten(1)[:, : scores.shape[-1]].bool()
        drawn = torch.stack([self._drawn(row, scores[row].float()) for row in range(len(self._matchers))])
        return drawn.masked_fill(~allowed.to(scores.device), float("-inf"))

    def _drawn(self, row: int, logits: Any) -> Any:
        """Logits (vocabulary,) of one row, over its temperature and with noise; as they are at temperature 0."""
        import torch

        temperature = self._temperatures[row]
        if temperature <= 0:
            return logits
        uniform = torch.rand(logits.shape[-1], generator=self._generators[row], dtype=torch.float64)
        noise = -torch.log(-torch.log(uniform.clamp_min(1e-300)))
        return logits / max(temperature, 1e-3) + noise.to(logits.device, logits.dtype)

    def finished(self, row: int, tokens: list[int]) -> bool:
        """Whether a row ended because its answer was whole."""
        matcher = self._matchers[row]
        if not matcher.is_stopped() and tokens:
            matcher.consume_token(tokens[-1])
        return bool(matcher.is_stopped())
