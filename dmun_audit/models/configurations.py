"""The JSON files of a model's folder, read before the libraries read them: within limits, without code, with sensible numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dmun_audit._util.errors import LoadError
from dmun_audit._util.untrusted import parse_json, read_within
from dmun_audit.models.config_bounds import Headers, network_fault, scheduler_fault, tokenizer_fault

MEGABYTE = 2**20
LARGEST_CONFIG = 4 * MEGABYTE  # with the names of 21,000 classes, 2 MB
LARGEST_LIST = 16 * MEGABYTE  # an index of shards, a list of added tokens
LARGEST_VOCABULARY = 64 * MEGABYTE  # Gemma's tokenizer.json has 33 MB
BYTES_OF_A_VALUE = 8  # at least, on average, in files that people need

TABLES = {
    "config.json": LARGEST_CONFIG,
    "scheduler_config.json": LARGEST_CONFIG,
    "generation_config.json": LARGEST_CONFIG,
    "preprocessor_config.json": LARGEST_CONFIG,
    "processor_config.json": LARGEST_CONFIG,
    "special_tokens_map.json": LARGEST_LIST,
    "tokenizer_config.json": LARGEST_LIST,
    "added_tokens.json": LARGEST_LIST,
    "tokenizer.json": LARGEST_VOCABULARY,
    "vocab.json": LARGEST_VOCABULARY,
}
"""The JSON files that the libraries read, by name, and the most bytes that each may have."""

MAY_BE_INFINITE = {"config.json", "scheduler_config.json"}
"""The files in which single settings, which `config_bounds` knows by name, may be infinite."""

TEXTS = {"merges.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "vocab.txt"}
"""The other files of tokenizers."""

TRUST = "where you trust it, add --trust-remote-code"


def read_table(path: Path, most: int = LARGEST_CONFIG, infinite: bool = False) -> dict[str, Any]:
    """The table in a JSON file of at most `most` bytes. Raises LoadError, with the reason, where it cannot be read."""
    try:
        table = parse_json(read_within(path, most), most_values=most // BYTES_OF_A_VALUE, infinite=infinite)
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} cannot be read", str(error), "save or download it again") from None
    if not isinstance(table, dict):
        raise LoadError(f"{path} cannot be read", "it holds no table", "save or download it again")
    return table


def check_configurations(folder: Path, shapes: Mapping[str, tuple[int, ...]] | None, trust_remote_code: bool = False) -> None:
    """Check every configuration of one component before anything is built from it.

    `shapes` are the shapes of the component's tensors by name, from the headers of its weights; None where no header has them.
    Raises LoadError for a file that is too large, is no plain JSON, holds absurd numbers, or asks for code of its own.
    """
    for name in sorted(TEXTS):
        if (folder / name).exists():
            _require_small(folder / name)
    headers = Headers.of(shapes) if shapes else None
    faults: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "config.json": lambda table: network_fault(table, headers),
        "scheduler_config.json": scheduler_fault,
        "tokenizer_config.json": tokenizer_fault,
        "tokenizer.json": tokenizer_fault,
    }
    for name, most in TABLES.items():
        if not (folder / name).exists():
            continue
        table = read_table(folder / name, most, infinite=name in MAY_BE_INFINITE)
        if not trust_remote_code:
            _refuse_code_of_the_hub(folder / name, table)
        fault = faults[name](table) if name in faults else ""
        if fault:
            raise LoadError(
                f"{folder / name} is no usable configuration", fault, "save or download it again, from a source that you trust"
            )
    for path in sorted(folder.glob("*.index.json")):
        _check_index(path)


def _require_small(path: Path) -> None:
    if not path.is_file() or path.stat().st_size > LARGEST_VOCABULARY:
        raise LoadError(
            f"{path} is no file of a tokenizer", f"it is no regular file, or has more than {LARGEST_VOCABULARY:,} bytes"
        )


def _refuse_code_of_the_hub(path: Path, table: Mapping[str, Any]) -> None:
    """An `auto_map` may stay: it names code beside the weights, which is not read, and many models that need none have one."""
    for key, value in _entries(table):
        if key.endswith(("attn_implementation", "experts_implementation")) and "/" in str(value):
            raise LoadError(f"{path} asks for code from the hub: {key} is {str(value)[:80]!r}", "no such code is run", TRUST)


def _entries(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The entries of a table and of the tables below it, three levels deep: configurations within configurations."""
    waiting: list[tuple[int, Mapping[str, Any]]] = [(0, table)]
    while waiting:
        depth, inner = waiting.pop()
        for key, value in inner.items():
            yield key, value
            if isinstance(value, Mapping) and depth < 3 and len(value) < 1_000:
                waiting.append((depth + 1, value))


def _check_index(path: Path) -> None:
    """An index of shards names files beside itself, and no others."""
    shards = read_table(path, LARGEST_LIST).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise LoadError(f"{path} is no index of shards", "it has no table weight_map with the file of each tensor")
    for name in sorted(set(shards.values())):
        if name != PurePosixPath(name).name or "\\" in name or name in {"", ".", ".."}:
            raise LoadError(
                f"{path} names a file outside of its folder: {name[:80]!r}", "a shard lies beside its index", "save it again"
            )
