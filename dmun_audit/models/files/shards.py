"""Series of shards (`model-00001-of-00002.safetensors`): file names and index files prove whether one is complete.

Names are those of `save_pretrained` in diffusers and transformers. An index (`model.safetensors.index.json`) says which file holds
which tensor. Nothing but the index is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from dmun_audit._util.errors import LoadError

SHARD = re.compile(r"(?P<before>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<after>(\.\w+)+)")
INDEX = re.compile(r".+\.(?P<kind>safetensors|bin|pt|pth|ckpt)\.index(\.(?P<variant>\w+))?\.json")
VARIANT = re.compile(r"[\w-]+?\.(\w+?)(-\d{5}-of-\d{5})?\.\w+")
REMEDY = "copy or download all files of the series again, and name their folder"
MOST_NAMED = 3  # missing files in a message
LARGEST_INDEX = 64 * 2**20  # bytes; the index of the largest published models has under one megabyte


def variant_of(file: Path) -> str:
    """The variant in a weights file's name (model.fp16.safetensors, model.fp16-00001-of-00002.safetensors); empty for none."""
    matched = VARIANT.fullmatch(file.name)
    return matched[1] if matched else ""


def is_shard(file: Path) -> bool:
    """Whether the file's name says that it is one of several files."""
    matched = SHARD.fullmatch(file.name)
    return matched is not None and int(matched["total"]) != 1


def require_complete(folder: Path, files: Sequence[Path]) -> None:
    """Raise LoadError, naming what is missing, unless `files` of `folder` are whole files or one complete series of shards.

    An index of files of the same kind and variant must name no absent file.
    """
    shards = [file for file in files if is_shard(file)]
    if shards:
        _require_one_series(folder, files, shards)
    _require_indexed(folder, files)


def refuse_part(file: Path) -> None:
    """Raise LoadError for a file that is only a part: a shard, which names its series, or the index of one."""
    if INDEX.fullmatch(file.name):
        raise LoadError(f"{file} is the index of a series of files", "it holds no weights", f"name its folder, {file.parent}")
    if not is_shard(file):
        return
    missing = [name for name in _series(file) if not (file.parent / name).is_file()]
    if missing:
        raise _missing(file, missing)
    raise LoadError(
        f"{file} is one shard of a series, {len(_series(file))} files in all",
        "it holds only a part of the weights",
        f"name the folder with the whole series, {file.parent}",
    )


def _require_one_series(folder: Path, files: Sequence[Path], shards: Sequence[Path]) -> None:
    whole = [file for file in files if not is_shard(file)]
    if whole:
        raise LoadError(
            f"{folder} holds the shard {shards[0].name} beside the whole file {whole[0].name}",
            "nothing says which of them is the model",
            "remove one of them",
        )
    series = _series(shards[0])
    other = next((file for file in shards if file.name not in series), None)
    if other is not None:
        raise LoadError(
            f"{folder} holds shards of two series", f"{shards[0].name} and {other.name}", "keep the files of one series there"
        )
    present = {file.name for file in shards}
    missing = [name for name in series if name not in present]
    if missing:
        raise _missing(folder, missing)


def _series(shard: Path) -> list[str]:
    """The names of all files in a shard's series; of an absurd total, only the first thousand."""
    matched = SHARD.fullmatch(shard.name)
    assert matched is not None
    total = min(int(matched["total"]), 1_000)
    return [f"{matched['before']}-{number:05}-of-{matched['total']}{matched['after']}" for number in range(1, total + 1)]


def _require_indexed(folder: Path, files: Sequence[Path]) -> None:
    kinds = {(file.suffix[1:], variant_of(file)) for file in files}
    for index in sorted(folder.glob("*.json")):
        matched = INDEX.fullmatch(index.name)
        variant = matched and (matched["variant"] or variant_of(Path(index.name.partition(".index")[0])))
        if matched and (matched["kind"], variant) in kinds:
            missing = sorted({name for name in _indexed(index) if not (folder / name).is_file()})
            if missing:
                raise _missing(folder, missing, f"{index.name} names what is not there")


def _indexed(index: Path) -> list[str]:
    """The file names in an index. Raises LoadError for an index that cannot be read, or that leads out of its folder."""
    try:
        if index.stat().st_size > LARGEST_INDEX:
            raise ValueError(f"it has {index.stat().st_size:,} bytes")
        table = json.loads(index.read_text(encoding="utf-8"))
        names = list(table["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LoadError(f"{index} is no index of shards", f"it cannot be read: {error}", REMEDY) from None
    odd = next((name for name in names if not isinstance(name, str) or Path(name).name != name), None)
    if odd is not None:
        raise LoadError(f"{index} is no index of shards", f"it names {odd!r}, which is no file beside it", REMEDY)
    return names


def _missing(
    where: Path, missing: Sequence[str], proof: str = "the names of its files say that there are more of them"
) -> LoadError:
    others = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return LoadError(f"{where} lacks {', '.join(missing[:MOST_NAMED])}{others}", f"{proof}: the weights are incomplete", REMEDY)
