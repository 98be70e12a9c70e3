"""The contents of a weights file: names, shapes and metadata from its header, and numbers one tensor at a time."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from dmun_audit._util.errors import LoadError
from dmun_audit.models.files.pickles import check_pickle
from dmun_audit.models.files.safetensors_header import Header, read_header
from dmun_audit.models.files.shards import is_shard, refuse_part, require_complete
from dmun_audit.models.references import WEIGHTS_SUFFIXES

LONGEST_NAME = 1_000  # characters of a tensor's name
MOST_ENTRIES = 100_000  # of a nested state dict; SDXL has 2,500, and dicts that hold each other have no end
DEEPEST = 6  # levels of nesting that are followed
FLOATS = {"F64", "F32", "F16", "BF16"}
TORCH_NAMES = {"torch.float64": "F64", "torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16"}
REMEDY = "save the edited model as a whole pipeline folder (save_pretrained), or its weights as safetensors"

PICKLE_SUFFIXES = WEIGHTS_SUFFIXES - {".safetensors"}
OPTIMISER = re.compile(r"(optimi[sz]ers?|optim|lr_schedulers?|callbacks|scaler|loops)(_\w+)?(\.|$)")

Container = Literal["safetensors", "state dict"]


@dataclass(frozen=True)
class Contents:
    """What a weights file holds.

    `shapes` and `dtypes` have the names of the tensors as keys; names from nested dictionaries of a pickle are joined by dots.
    Types are spelt as in safetensors, or as in torch where safetensors has no such type. `metadata` holds the texts of a
    safetensors header. `extras` holds what a pickle has besides tensors: numbers, texts, lists. `tensor` reads one tensor.
    """

    path: Path
    container: Container
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    tensor: Callable[[str], Any] = field(default=lambda name: None, repr=False)


class OpenContents:
    """A context that opens a weights file: `with OpenContents(path) as contents`, where `contents` is a `Contents`."""

    def __init__(self, path: Path, *, headers_only: bool = False) -> None:
        self._path = path
        self._headers_only = headers_only
        self._stack = ExitStack()

    def __enter__(self) -> Contents:
        return _together(self._path, [self._one(file) for file in weights_files(self._path)])

    def _one(self, path: Path) -> Contents:
        if is_safetensors(path):
            return self._safetensors(path, read_header(path))
        return _pickle(path, "meta" if self._headers_only else "cpu")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _safetensors(self, path: Path, header: Header) -> Contents:
        if self._headers_only:
            return header_contents(path, header)
        from safetensors import SafetensorError, safe_open

        try:
            stream = self._stack.enter_context(safe_open(path, framework="pt"))
        except (SafetensorError, OSError, ValueError) as error:
            raise LoadError(f"{path} is no usable safetensors file", str(error)) from None
        return header_contents(path, header, stream.get_tensor)


def weights_files(path: Path) -> list[Path]:
    """The file itself; of a folder, its one weights file or the shards of one.

    Raises LoadError where a folder has none, or several that are not shards of one, and where a shard is missing.
    """
    if not path.is_dir():
        refuse_part(path)
        return [_regular(path)]
    for suffixes in ({".safetensors"}, PICKLE_SUFFIXES):
        files = sorted(file for file in path.iterdir() if file.suffix in suffixes)
        if len(files) > 1 and not any(is_shard(file) for file in files):
            raise LoadError(
                f"{path} holds {len(files)} weights files", ", ".join(file.name for file in files[:5]), "name one of them"
            )
        if files:
            require_complete(path, files)
            return [_regular(file) for file in files]
    raise LoadError(f"{path} holds no weights file", f"none ends in .safetensors or {', '.join(sorted(PICKLE_SUFFIXES))}")


def _regular(path: Path) -> Path:
    if not path.is_file():
        raise LoadError(f"{path} is no regular file", "a pipe or a device is not read")
    return path


def _together(path: Path, each: list[Contents]) -> Contents:
    """The contents of all shards, as of one file."""
    if len(each) == 1:
        return each[0]
    owner: dict[str, Contents] = {}
    for contents in each:
        for name in contents.shapes:
            if name in owner:
                raise LoadError(f"{path}: tensor {name!r} is in two files", f"{owner[name].path.name} and {contents.path.name}")
            owner[name] = contents
    shapes = {name: contents.shapes[name] for name, contents in owner.items()}
    dtypes = {name: contents.dtypes[name] for name, contents in owner.items()}
    return Contents(path, each[0].container, shapes, dtypes, each[0].metadata, {}, lambda name: owner[name].tensor(name))


def header_contents(path: Path, header: Header, tensor: Callable[[str], Any] = lambda name: None) -> Contents:
    """The contents of a safetensors file, from its verified header alone."""
    _require_names(path, header.shapes)
    return Contents(path, "safetensors", header.shapes, header.dtypes, header.metadata, {}, tensor)


def _require_names(path: Path, names: Collection[str]) -> None:
    long = next((name for name in names if len(name) > LONGEST_NAME), None)
    if long is not None:
        raise LoadError(
            f"{path}: the name of tensor {long[:60]!r}… has {len(long):,} characters", "no network has such names", REMEDY
        )


def is_safetensors(path: Path) -> bool:
    """Whether the file is read as safetensors. Its first bytes decide; where they tell nothing, its suffix does."""
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise LoadError(f"{path} cannot be read", str(error)) from None
    if start[8:] == b"{":  # checked first: the length of a safetensors header may begin with the bytes of a pickle
        return True
    return path.suffix == ".safetensors" and not start.startswith((b"PK\x03\x04", b"\x80"))


def require_plain(contents: Contents, names: list[str]) -> None:
    """Raise LoadError, naming the tensor, unless all `names` are floating-point tensors that are not quantised."""
    for name in names:
        if contents.dtypes[name] not in FLOATS:
            raise LoadError(
                f"{contents.path}: tensor {name!r} is of type {contents.dtypes[name]}",
                "quantised and whole-number weights are not loaded",
                "save it as float",
            )


# Pickles.


def _pickle(path: Path, device: str) -> Contents:
    import torch

    check_pickle(path)
    tensors: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    content = _unpickle(path, device)
    if isinstance(content, torch.nn.Module) or not isinstance(content, Mapping):
        raise LoadError(f"{path} is no state dict", f"it holds a {type(content).__name__}", REMEDY)
    _flatten(path, content, tensors, extras)
    _require_names(path, tensors)
    for name, value in extras.items():
        if not OPTIMISER.match(name) and _holds_tensors(value):
            raise LoadError(
                f"{path} holds tensors under {name[:LONGEST_NAME]!r} in a {type(value).__name__}",
                "without names nothing says where they belong",
                REMEDY,
            )
    size = path.stat().st_size
    for name, tensor in tensors.items():
        if str(tensor.layout) != "torch.strided":
            raise LoadError(f"{path}: tensor {name!r} is sparse", "only dense weights are loaded", REMEDY)
        if tensor.numel() * tensor.element_size() > size:
            raise LoadError(
                f"{path}: tensor {name!r} of shape {list(tensor.shape)} has more numbers than the file has bytes for",
                f"the file has {size:,} bytes",
                "save it again; .contiguous() writes a tensor out in full",
            )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dtypes = {name: TORCH_NAMES.get(str(tensor.dtype), str(tensor.dtype)) for name, tensor in tensors.items()}
    return Contents(path, "state dict", shapes, dtypes, {}, extras, tensors.__getitem__)


def _holds_tensors(value: Any) -> bool:
    """Whether `value` holds a tensor at any depth. True as well where it has more entries than MOST_ENTRIES."""
    import torch

    waiting, visited = [value], 0
    while waiting and visited < MOST_ENTRIES:
        inner = waiting.pop()
        visited += 1
        if isinstance(inner, torch.Tensor):
            return True
        if isinstance(inner, Mapping | list | tuple) and len(inner) <= MOST_ENTRIES:
            waiting.extend(inner.values() if isinstance(inner, Mapping) else inner)
    return bool(waiting)


def _unpickle(path: Path, device: str) -> Any:
    import torch

    try:
        if path.suffix == ".safetensors":  # given a path, torch would read it as its suffix says
            with path.open("rb") as stream:
                return torch.load(stream, map_location=device, weights_only=True)
        return torch.load(path, map_location=device, weights_only=True, mmap=device == "cpu" and zipfile.is_zipfile(path))
    except Exception as error:  # a damaged file makes torch raise errors of many classes
        reason = str(error).strip().splitlines()
        if "weights_only" in str(error):  # torch's own text advises to open the file without this protection
            reason = ["torch refuses what is in its pickle, which a state dict of tensors does not need"]
        raise LoadError(f"{path} is no usable weights file", reason[0] if reason else type(error).__name__, REMEDY) from None


def _flatten(path: Path, content: Mapping[Any, Any], tensors: dict[str, Any], extras: dict[str, Any]) -> None:
    """Sort the entries of a nested dictionary into tensors and extras; dictionaries below level DEEPEST are extras."""
    import torch

    waiting: list[tuple[str, int, Mapping[Any, Any]]] = [("", 0, content)]
    visited = 0
    while waiting:
        prefix, depth, table = waiting.pop()
        visited += len(table)
        if visited > MOST_ENTRIES:
            raise LoadError(
                f"{path} holds more than {MOST_ENTRIES:,} entries",
                f"the {visited:,}th lies below {prefix or 'the top'!r}",
                REMEDY,
            )
        for key, value in table.items():
            name = f"{prefix}{key}"
            if name in tensors:
                raise LoadError(f"{path} holds tensor {name!r} twice", "at two levels of its dictionaries", REMEDY)
            if isinstance(value, torch.Tensor):
                tensors[name] = value.detach()
            elif isinstance(value, Mapping) and depth < DEEPEST:
                waiting.append((f"{name}.", depth + 1, value))
            else:
                extras[name] = value
