"""Chat models of transformers on this machine, answers constrained to their JSON Schema by llguidance."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.knowledge.language_models.constrained import Grammar
from dmun_audit.knowledge.language_models.protocol import Answer, Message, Question, Settings


class TransformersModel:
    """A chat model with a template: a folder, or a hub id with an optional revision ("owner/name@revision").

    The model is opened when the first question comes and given back by `release`, so images can be rendered in between.
    Questions run in batches of `settings.batch`; those with images one by one.
    """

    backend = "transformers"

    def __init__(self, place: str, settings: Settings) -> None:
        self.model = place
        self._settings = settings
        self._opened: _Opened | None = None

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """See `LanguageModel.ask`."""
        if self._opened is None:
            self._opened = _Opened(self.model, self._settings)
        blind = [place for place, question in enumerate(questions) if not _images(question)]
        seeing = [place for place, question in enumerate(questions) if _images(question)]
        size = max(1, self._settings.batch)
        batches = [blind[start : start + size] for start in range(0, len(blind), size)] + [[place] for place in seeing]
        for batch in batches:
            answers = self._opened.generate([questions[place] for place in batch])
            yield from zip(batch, answers, strict=True)

    @property
    def unsupported_parameters(self) -> list[str]:
        """None: a model of one's own takes everything."""
        return []

    def release(self) -> None:
        """Free the model's memory."""
        if self._opened is None:
            return
        import torch

        self._opened = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _images(question: Question) -> list[bytes]:
    return [image for message in question.messages for image in message.images]


class _Opened:
    """A loaded model with its tokenizer or processor."""

    def __init__(self, place: str, settings: Settings) -> None:
        torchvision_compatibility.make_importable()
        import torch
        import transformers

        self._torch = torch
        name, revision = _place(place)
        if place.startswith(("/", ".", "~")) and not Path(name).is_dir():
            raise LoadError(f"language model transformers:{place} cannot be opened", "there is no such folder", "check the path")
        where: dict[str, Any] = {"revision": revision} if revision else {}
        try:
            config = transformers.AutoConfig.from_pretrained(name, **where)
            self.sees = getattr(config, "vision_config", None) is not None
            kind = transformers.AutoModelForImageTextToText if self.sees else transformers.AutoModelForCausalLM
            tools = transformers.AutoProcessor if self.sees else transformers.AutoTokenizer
            self.processor = tools.from_pretrained(name, **where)
            self.tokenizer = self.processor.tokenizer if self.sees else self.processor
            self.model = kind.from_pretrained(
                name,
                dtype="auto",
                device_map="auto" if torch.cuda.is_available() else None,
                use_safetensors=True,
                quantization_config=_quantisation(settings),
                **where,
            ).eval()
        except Exception as error:
            if isinstance(error, UsageError):
                raise
            raise LoadError(
                f"language model transformers:{place} cannot be opened",
                " ".join(str(error).split())[:300],
                "give the folder of a chat model with config, tokenizer and safetensors, or a hub id that can be reached",
            ) from None
        if not getattr(self.processor, "chat_template", None):
            raise LoadError(f"language model transformers:{place} has no chat template", "", "use an instruct or chat model")
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model.generation_config = self._plain_generation(transformers)
        self._fold_system = not self._takes_system()
        self._grammar = Grammar(self.tokenizer, self.model.get_input_embeddings().num_embeddings)

    def _plain_generation(self, transformers: Any) -> Any:
        """Greedy decoding that ends where tokenizer or model end a turn, without the model's own penalties and cuts: sampling
        is done by the constraint, one generator a question."""
        stated = self.model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(stated if isinstance(stated, list) else [stated])} - {None}
        return transformers.GenerationConfig(
            do_sample=False,
            eos_token_id=sorted(ends),
            bos_token_id=self.tokenizer.bos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def _takes_system(self) -> bool:
        """Whether the chat template has a place for a system turn; Gemma's and others' refuse one."""
        from jinja2 import TemplateError

        for fold in (False, True):
            self._fold_system = fold
            turns = self._conversation((Message("system", "Be brief."), Message("user", "Hello.")))
            try:
                self.processor.apply_chat_template([turns], add_generation_prompt=True, tokenize=False)
                return not fold
            except TemplateError as error:
                fault = str(error)
        raise LoadError(f"the chat template of transformers:{self.model.name_or_path} fails", fault, "use another chat model")

    def generate(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers to questions of one batch, sampled under their schemas."""
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
        width = inputs["input_ids"].shape[1]
        longest = max(question.max_tokens for question in questions)
        room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if room and width >= room:
            raise UsageError(
                f"language model transformers:{self.model.name_or_path} reads {room} tokens",
                f"the question has {width}",
                "use a model with a longer context",
            )
        constraint = self._grammar.constrain(questions, width)
        try:
            with torch.inference_mode():
                output = self.model.generate(
                    **inputs,
                    max_new_tokens=min(longest, room - width) if room else longest,
                    logits_processor=LogitsProcessorList([constraint]),
                )
        except torch.OutOfMemoryError as error:
            raise UsageError(
                f"language model transformers:{self.model.name_or_path} ran out of memory",
                f"{len(questions)} questions at once; {' '.join(str(error).split())[:120]}",
                "set --batch lower, or --quantize=4bit; answers so far are kept: the same command goes on from there",
            ) from None
        answers = []
        for row, question in zip(range(len(questions)), questions, strict=True):
            tokens = output[row, width:]
            text = self.tokenizer.decode(tokens, skip_special_tokens=True)
            counted = int(inputs["attention_mask"][row].sum())
            said = int((tokens != self.tokenizer.pad_token_id).sum())
            whole = constraint.finished(row, tokens.tolist()) and said <= question.max_tokens
            answers.append(Answer(text, counted, said, "stop" if whole else "length"))
        return answers

    def _conversation(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        messages = _folded(messages) if self._fold_system else messages
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


def _place(text: str) -> tuple[str, str]:
    """The folder or hub id that a reference names, and the revision of the latter, or ""."""
    folder = Path(text).expanduser()
    if folder.is_dir() or text.startswith(("/", ".", "~")):
        return str(folder), ""
    name, _, revision = text.partition("@")
    return name, revision


def _folded(messages: Sequence[Message]) -> Sequence[Message]:
    """The conversation without a system turn: its text opens the first turn of the user."""
    if not messages or messages[0].role != "system":
        return messages
    system, first, *rest = messages
    return [Message(first.role, f"{system.text}\n\n{first.text}", first.images), *rest]


def _quantisation(settings: Settings) -> Any:
    if settings.quantize == "none":
        return None
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(
            f"--quantize={settings.quantize} needs the package bitsandbytes", "it is not installed", "pip install bitsandbytes"
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=settings.quantize == "4bit", load_in_8bit=settings.quantize == "8bit")
