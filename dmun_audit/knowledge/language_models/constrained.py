"""Decoding under JSON Schemas: llguidance masks forbidden tokens, and each question samples with its own seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.language_models.protocol import Question


class Grammar:
    """llguidance bound to one tokenizer: turns JSON Schemas into constraints on tokens."""

    def __init__(self, tokenizer: Any, vocabulary_size: int) -> None:
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
        self._tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=max(vocabulary_size, len(tokenizer)))

    def constrain(self, questions: Sequence[Question], prompt_length: int) -> ConstrainedSampling:
        """The logits processor for a batch: row i keeps to the schema of `questions[i]` and samples by its temperature and seed.

        Prompts take the first `prompt_length` positions.
        """
        compact = [json.dumps(question.schema | {"x-guidance": {"whitespace_flexible": False}}) for question in questions]
        matchers = [self._matcher(schema) for schema in compact]
        sampling = [(question.temperature, question.seed) for question in questions]
        return ConstrainedSampling(self.llguidance, matchers, sampling, prompt_length)

    def _matcher(self, schema: str) -> Any:
        matcher = self.llguidance.LLMatcher
        made = matcher(self._tokens, matcher.grammar_from_json_schema(schema))
        if made.is_error():
            raise ValueError(f"llguidance does not accept this schema: {made.get_error()}")
        return made


class ConstrainedSampling:
    """A logits processor: at every step and for every row it masks the tokens that the schema forbids, and samples the others.

    It samples by the Gumbel-max trick (Gumbel 1954; Maddison et al. 2014, §2): the largest of logits/temperature + Gumbel noise
    is a sample of their softmax. Each row has its own generator, so an answer does not depend on the rest of its batch.
    """

    def __init__(self, llguidance: Any, matchers: list[Any], sampling: list[tuple[float, int]], prompt_length: int) -> None:
        import torch

        self._masks = llguidance.torch
        self._matchers = matchers
        self._temperatures = [temperature for temperature, _ in sampling]
        self._generators = [torch.Generator().manual_seed(seed) for _, seed in sampling]
        self._prompt_length = prompt_length

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores (rows, vocabulary) whose largest is the next token; minus infinity for a forbidden token."""
        import torch

        packed = self._masks.allocate_token_bitmask(len(self._matchers), scores.shape[-1])
        answers = input_ids[:, self._prompt_length :]
        for row, matcher in enumerate(self._matchers):
            if answers.shape[1] and not matcher.is_stopped():
                matcher.consume_token(int(answers[row, -1]))
            self._masks.fill_next_token_bitmask(matcher, packed, row)
        # 32 tokens a word, unpacked here: llguidance's own helper first compiles a kernel, which takes seconds.
        bits = (packed.unsqueeze(-1) >> torch.arange(32, dtype=packed.dtype)) & 1
        allowed = bits.flatten(1)[:, : scores.shape[-1]].bool()
        perturbed = torch.stack([self._perturbed(row, scores[row].float()) for row in range(len(self._matchers))])
        return perturbed.masked_fill(~allowed.to(scores.device), float("-inf"))

    def _perturbed(self, row: int, logits: Any) -> Any:
        """Logits (vocabulary,) of one row divided by its temperature, with Gumbel noise; unchanged at temperature 0."""
        import torch

        temperature = self._temperatures[row]
        if temperature <= 0:
            return logits
        uniform = torch.rand(logits.shape[-1], generator=self._generators[row], dtype=torch.float64)
        noise = -torch.log(-torch.log(uniform.clamp_min(1e-300)))
        return logits / max(temperature, 1e-3) + noise.to(logits.device, logits.dtype)

    def is_complete(self, row: int, tokens: list[int]) -> bool:
        """Whether the answer of a row is complete under its schema."""
        matcher = self._matchers[row]
        if not matcher.is_stopped() and tokens:
            matcher.consume_token(tokens[-1])
        return bool(matcher.is_stopped())
