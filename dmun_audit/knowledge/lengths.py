"""How many tokens of a prompt a text encoder reads, counted with that model's own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.models.references import ModelReference

CLIP_TOKENS = 77  # CLIP, Radford et al. 2021, §2.4: the length of its text encoder, start and end token included


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens, start and end included, as one text encoder sees them. `limit` is the most that it reads."""

    name: str
    limit: int
    count: Callable[[str], int]

    def too_long(self, text: str) -> bool:
        """Whether the end of `text` would be cut off."""
        return self.count(text) > self.limit


def clip_counter() -> TokenCounter:
    """CLIP's own byte-pair encoding, as OpenAI published it and open_clip ships it: SD 1.x, and the first encoder of most."""
    from dmun_audit._util import torchvision_compatibility

    torchvision_compatibility.make_importable()
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    return TokenCounter("CLIP", CLIP_TOKENS, lambda text: len(tokenizer.encode(text)) + 2)


def counter_of(base: ModelReference | None) -> TokenCounter:
    """The counter of a pipeline folder's first tokenizer; CLIP's where `base` is None or not a folder here.

    Raises UsageError where the folder's tokenizer cannot be read.
    """
    folder = base.path / "tokenizer" if base and base.path and base.path.is_dir() else None
    if folder is None or not folder.is_dir():
        return clip_counter()
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        stated = int(settings.get("model_max_length") or CLIP_TOKENS)
        limit = min(stated, _positions(folder.parent / "text_encoder" / "config.json"))
        return TokenCounter(str(base and base.text), limit, _counting(folder))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"the tokenizer in {folder} cannot be read", str(error), "check the model's folder") from None


def _positions(config: Path) -> int:
    """The most tokens for which a text encoder has positions; a tokenizer's own limit is sometimes not set."""
    if not config.is_file():
        return CLIP_TOKENS
    return int(json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings") or CLIP_TOKENS)


def _counting(folder: Path) -> Callable[[str], int]:
    if (folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
        fast.no_truncation()
        fast.no_padding()
        return lambda text: len(fast.encode(text).ids)
    from dmun_audit._util import torchvision_compatibility

    torchvision_compatibility.make_importable()
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    return lambda text: len(slow(text).input_ids)
