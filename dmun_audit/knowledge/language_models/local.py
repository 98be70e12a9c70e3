"""Chat models of transformers on this machine. llguidance keeps their answers to the JSON Schema."""

from __future__ import annotations

import gc
import io
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, UsageError, in_brief
from dmun_audit._util.paths import expanded
from dmun_audit.knowledge.language_models.constrained import Grammar
from dmun_audit.knowledge.language_models.protocol import Answer, Message, Question, Settings
from dmun_audit.models.headers import check_network_folder

_LOG = logging.getLogger(__name__)


class TransformersModel:
    """A chat model with a template: a folder, or a hub id with an optional revision ("owner/name@revision").

    The first question loads the model and `release` frees it, so that images can be rendered in between. Questions run in
    batches of `settings.batch`; a question with images runs alone.
    """

    backend = "transformers"

    def __init__(self, place: str, settings: Settings) -> None:
        self.model = place
        self._settings = settings
        self._loaded: _LoadedModel | None = None

    def load(self) -> None:
        """Load the weights, unless they are loaded. The first `ask` does so by itself."""
        if self._loaded is None:
            started = time.monotonic()
            self._loaded = _LoadedModel(self.model, self._settings)
            _LOG.info("%s loaded in %.1f seconds", self.model, time.monotonic() - started)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """See `LanguageModel.ask`."""
        self.load()
        assert self._loaded is not None
        questions = [_limited(question, self._settings.max_tokens) for question in questions]
        text_only = [index for index, question in enumerate(questions) if not _has_images(question)]
        with_images = [index for index, question in enumerate(questions) if _has_images(question)]
        size = max(1, self._settings.batch)
        batches = [text_only[start : start + size] for start in range(0, len(text_only), size)] + [
            [index] for index in with_images
        ]
        for batch in batches:
            started = time.monotonic()
            answers = self._loaded.generate([questions[index] for index in batch])
            _LOG.debug("%d questions answered in %.1f seconds", len(batch), time.monotonic() - started)
            yield from zip(batch, answers, strict=True)

    @property
    def unsupported_parameters(self) -> list[str]:
        """None: a local model supports every parameter."""
        return []

    def release(self) -> None:
        """Free the model's memory."""
        if self._loaded is None:
            return
        import torch

        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _limited(question: Question, most: int | None) -> Question:
    return replace(question, max_tokens=min(question.max_tokens, most)) if most else question


def _has_images(question: Question) -> bool:
    return any(message.images for message in question.messages)


class _LoadedModel:
    """A loaded model with its tokenizer or processor. `sees` tells whether it takes images."""

    def __init__(self, place: str, settings: Settings) -> None:
        torchvision_compatibility.make_importable()
        import torch
        import transformers

        self._torch = torch
        name, revision = _name_and_revision(place)
        if place.startswith(("/", ".", "~")) and not Path(name).is_dir():
            raise LoadError(f"language model transformers:{place} cannot be opened", "there is no such folder", "check the path")
        options: dict[str, Any] = {"revision": revision} if revision else {}
        if Path(name).is_dir():
            check_network_folder(Path(name))
        try:
            config = transformers.AutoConfig.from_pretrained(name, **options)
            self.sees = getattr(config, "vision_config", None) is not None
            model_class = transformers.AutoModelForImageTextToText if self.sees else transformers.AutoModelForCausalLM
            processor_class = transformers.AutoProcessor if self.sees else transformers.AutoTokenizer
            self.processor = processor_class.from_pretrained(name, **options)
            self.tokenizer = self.processor.tokenizer if self.sees else self.processor
            self.model = model_class.from_pretrained(
                name,
                dtype="auto",
                device_map="auto" if torch.cuda.is_available() else None,
                use_safetensors=True,
                quantization_config=_quantization(settings),
                **options,
            ).eval()
        except Exception as error:
            if isinstance(error, UsageError):
                raise
            raise LoadError(
                f"language model transformers:{place} cannot be opened",
                in_brief(error),
                "give the folder of a chat model with config, tokenizer and safetensors, or a hub id that can be reached",
            ) from None
        if not getattr(self.processor, "chat_template", None):
            raise LoadError(f"language model transformers:{place} has no chat template", "", "use an instruct or chat model")
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model.generation_config = self._greedy_generation(transformers)
        self._merges_system = not self._accepts_system_turn()
        self._grammar = Grammar(self.tokenizer, self.model.get_input_embeddings().num_embeddings)

    def _greedy_generation(self, transformers: Any) -> Any:
        """Greedy decoding that ends at the end tokens of tokenizer and model, without the model's own penalties and limits.

        ConstrainedSampling does the sampling, with one generator a question.
        """
        model_ends = self.model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(model_ends if isinstance(model_ends, list) else [model_ends])} - {None}
        return transformers.GenerationConfig(
            do_sample=False,
            eos_token_id=sorted(ends),
            bos_token_id=self.tokenizer.bos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def _accepts_system_turn(self) -> bool:
        """Whether the chat template accepts a system turn. Gemma's and others refuse one."""
        from jinja2 import TemplateError

        for merge in (False, True):
            self._merges_system = merge
            turns = self._conversation((Message("system", "Be brief."), Message("user", "Hello.")))
            try:
                self.processor.apply_chat_template([turns], add_generation_prompt=True, tokenize=False)
                return not merge
            except TemplateError as error:
                message = str(error)
        raise LoadError(f"the chat template of transformers:{self.model.name_or_path} fails", message, "use another chat model")

    def generate(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers to the questions of one batch, sampled under their schemas."""
        from transformers import LogitsProcessorList

        torch = self._torch
        padded = {"padding": True, "return_tensors": "pt"}
        inputs = self.processor.apply_chat_template(
            [self._conversation(question.messages) for question in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            **({"processor_kwargs": padded} if self.sees else padded),
        ).to(self.model.device)
        prompt_length = inputs["input_ids"].shape[1]
        longest = max(question.max_tokens for question in questions)
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if context and prompt_length >= context:
            raise UsageError(
                f"language model transformers:{self.model.name_or_path} reads {context} tokens",
                f"the question has {prompt_length}",
                "use a model with a longer context",
            )
        sampling = self._grammar.constrain(questions, prompt_length)
        try:
            with torch.inference_mode():
                output = self.model.generate(
                    **inputs,
                    max_new_tokens=min(longest, context - prompt_length) if context else longest,
                    logits_processor=LogitsProcessorList([sampling]),
                )
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"language model transformers:{self.model.name_or_path} ran out of memory",
                f"{len(questions)} questions at once; {' '.join(str(error).split())[:120]}",
                "set --batch lower, or --quantize=4bit; answers so far are kept: the same command goes on from there",
            ) from None
        answers = []
        for row, question in zip(range(len(questions)), questions, strict=True):
            tokens = output[row, prompt_length:]
            text = self.tokenizer.decode(tokens, skip_special_tokens=True)
            tokens_in = int(inputs["attention_mask"][row].sum())
            tokens_out = int((tokens != self.tokenizer.pad_token_id).sum())
            complete = sampling.is_complete(row, tokens.tolist()) and tokens_out <= question.max_tokens
            answers.append(Answer(text, tokens_in, tokens_out, "stop" if complete else "length"))
        return answers

    def _conversation(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        messages = _without_system_turn(messages) if self._merges_system else messages
        if not self.sees:
            if any(message.images for message in messages):
                raise UsageError(
                    f"language model transformers:{self.model.name_or_path} does not see images",
                    "",
                    "name a vision-language model",
                )
            return [{"role": message.role, "content": message.text} for message in messages]
        from PIL import Image

        return [
            {
                "role": message.role,
                "content": [
                    *({"type": "image", "image": Image.open(io.BytesIO(image)).convert("RGB")} for image in message.images),
                    {"type": "text", "text": message.text},
                ],
            }
            for message in messages
        ]


def _name_and_revision(text: str) -> tuple[str, str]:
    """The folder, or the hub id and its revision ("" if there is none), that a reference names."""
    folder = expanded(text, f"language model transformers:{text}")
    if folder.is_dir() or text.startswith(("/", ".", "~")):
        return str(folder), ""
    name, _, revision = text.partition("@")
    return name, revision


def _without_system_turn(messages: Sequence[Message]) -> Sequence[Message]:
    """The conversation with the system turn's text at the start of the user's first turn."""
    if not messages or messages[0].role != "system":
        return messages
    system, first, *rest = messages
    return [Message(first.role, f"{system.text}\n\n{first.text}", first.images), *rest]


def _quantization(settings: Settings) -> Any:
    if settings.quantize == "none":
        return None
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(
            f"--quantize={settings.quantize} needs the package bitsandbytes", "it is not installed", "pip install bitsandbytes"
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=settings.quantize == "4bit", load_in_8bit=settings.quantize == "8bit")
