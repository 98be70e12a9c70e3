"""VQAScore: the probability that a vision-language model answers "Yes" to whether the image shows its prompt.

Source: Lin et al., Evaluating text-to-visual generation with image-to-text generation, ECCV 2024, §3. The authors trained a model of
their own for it, CLIP-FlanT5; the score is defined for any model that answers questions about images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.batches import encode_in_batches
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.pretrained import Pretrained, check_source, open_pretrained, pil_images
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.measures.metric_kind import MetricKind, paired_values

BATCH_SIZE = 1  # prompts have different lengths, and padding would change what some models compute
VERSION = 2  # of what this file computes
QUESTION = 'Does this figure show "{prompt}"? Please answer yes or no.'
ANSWER = "Yes"


@dataclass(frozen=True)
class VqaScore:
    """A vision-language model with a chat template. `answer` is the token with which "Yes" begins."""

    reference: str
    opened: Pretrained
    device: str
    answer: int
    name: str = "vqascore"

    @property
    def digest(self) -> str:
        """See `ReferencedMetric.digest`."""
        template = str(self.opened.processor.chat_template)
        return digest([self.name, VERSION, QUESTION, self.answer, template, self.opened.digest])

    def measure(self, base: Sequence[np.ndarray], candidate: Sequence[np.ndarray], prompts: Sequence[str]) -> Mapping[str, float]:
        """See `Metric.measure` and `paired_values`."""
        return paired_values(self.name, self.scores(base, prompts), self.scores(candidate, prompts), prompts)

    def scores(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> NDArray[np.float64]:
        """The probability in [0, 1] that the first token of the answer is that of "Yes", for n ≥ 1 images with their prompts; (n,)."""

        def encode(batch: list[tuple[np.ndarray, str]]) -> Any:
            [(image, prompt)] = batch
            content = [
                {"type": "image", "image": pil_images([image])[0]},
                {"type": "text", "text": QUESTION.format(prompt=prompt)},
            ]
            inputs = self.opened.processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
            logits = self.opened.model(**inputs.to(self.device)).logits[:, -1].float()
            return logits.softmax(dim=-1)[:, self.answer]

        pairs = list(zip(images, prompts, strict=True))
        return np.asarray(encode_in_batches(encode, pairs, BATCH_SIZE), dtype=np.float64)


def _open(reference: JudgeReference, models: SharedModels) -> VqaScore:
    opened = open_pretrained(reference, "AutoModelForImageTextToText", "AutoProcessor", models.device)
    if not getattr(opened.processor, "chat_template", None):
        raise LoadError(
            f"metric {reference.text!r}: the model has no chat template", "the question is put as a chat", "use a chat model"
        )
    if opened.model.config.is_encoder_decoder:
        raise LoadError(
            f"metric {reference.text!r}: the model has an encoder and a decoder",
            "the answer's probability is read after the question, from a decoder alone",
            "use a chat model such as LLaVA or Qwen-VL",
        )
    tokenizer = opened.processor.tokenizer
    tokens = tokenizer(ANSWER, add_special_tokens=False).input_ids
    if not tokens or tokens[0] == tokenizer.unk_token_id:
        raise LoadError(f"metric {reference.text!r}: the tokenizer cannot spell {ANSWER!r}", "", "use another model")
    return VqaScore(reference.text, opened, models.device, int(tokens[0]))


KIND = MetricKind(
    "vqascore",
    "vqascore:MODEL",
    check=check_source,
    open=_open,
    note="VQAScore is the probability that the named vision-language model answers “Yes” to whether the image shows its prompt: higher "
    "is better.",
    titles={"vqascore": "VQAScore"},
)
