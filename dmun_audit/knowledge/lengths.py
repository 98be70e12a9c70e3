"""The length of prompts in tokens, counted with the tokenizer of the model that reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.models.configurations import check_configurations, read_table
from dmun_audit.models.references import ModelReference

CLIP_TOKENS = 77  # Radford et al. 2021 (CLIP), §2.4: the length that its text encoder reads, with start and end token


@dataclass(frozen=True)
class TokenCounter:
    """Counts the tokens of a text, with start and end token. `limit` is the most that the text encoder reads."""

    name: str
    limit: int
    count: Callable[[str], int]

    def too_long(self, text: str) -> bool:
        """Whether the text encoder would cut off the end of `text`."""
        return self.count(text) > self.limit


def clip_counter() -> TokenCounter:
    """CLIP's byte-pair encoding as open_clip ships it. SD 1.x uses it, and most other pipelines for their first text encoder."""
    from dmun_audit._util import torchvision_compatibility

    torchvision_compatibility.make_importable()
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    return TokenCounter("CLIP", CLIP_TOKENS, lambda text: len(tokenizer.encode(text)) + 2)


def counter_of(base: ModelReference | None) -> TokenCounter:
    """The counter of a pipeline folder's first tokenizer; CLIP's if `base` is None or no local folder.

    Raises UsageError if the folder's tokenizer cannot be read.
    """
    folder = base.path / "tokenizer" if base and base.path and base.path.is_dir() else None
    if folder is None or not folder.is_dir():
        return clip_counter()
    try:
        check_configurations(folder, None)
        settings = read_table(folder / "tokenizer_config.json")
        tokenizer_limit = int(settings.get("model_max_length") or CLIP_TOKENS)
        limit = min(tokenizer_limit, _positions(folder.parent / "text_encoder" / "config.json"))
        return TokenCounter(str(base and base.text), limit, _count_function(folder))
    except LoadError as error:
        raise UsageError(f"the tokenizer in {folder} cannot be read", f"{error.what}: {error.why}", error.remedy) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"the tokenizer in {folder} cannot be read", str(error), "check the model's folder") from None


def _positions(config: Path) -> int:
    """The number of positions of a text encoder: some tokenizers do not state their limit."""
    if not config.is_file():
        return CLIP_TOKENS
    return int(read_table(config).get("max_position_embeddings") or CLIP_TOKENS)


def _count_function(folder: Path) -> Callable[[str], int]:
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
