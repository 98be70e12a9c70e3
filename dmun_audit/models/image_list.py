"""`metadata.jsonl`: the list of the images in a folder, each with its prompt and, if known, its seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dmun_audit._util.errors import LoadError
from dmun_audit.models.references import IMAGE_LIST
from dmun_audit.models.source_files import IMAGE_SUFFIXES

SUFFIXES = IMAGE_SUFFIXES - {".jsonl"}  # the files that count in the digest of the folder


@dataclass(frozen=True)
class ListedImage:
    """One line of the list. `seed` is None where the list gives none."""

    file: Path
    prompt: str
    seed: int | None
    line: int

    @property
    def words(self) -> str:
        """How messages name it."""
        seed = "" if self.seed is None else f" with seed {self.seed}"
        return f"line {self.line} ({self.file.name!r}, {self.prompt!r}{seed})"


def read_list(folder: Path) -> list[ListedImage]:
    """The images that the list of a folder names, in order.

    Raises LoadError where the list cannot be read, names a file that is not there or lies outside of the folder, names a file or a
    prompt with its seed twice, or gives seeds for some images only.
    """
    path = folder / IMAGE_LIST
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would cut prompts at rarer separators
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read", str(error)) from None
    images: list[ListedImage] = []
    drawn: set[tuple[str, int]] = set()
    listed: dict[Path, ListedImage] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        image = _entry(path, number, line)
        if image.seed is not None and (image.prompt, image.seed) in drawn:
            raise LoadError(f"{path}, line {number}: a second image of prompt {image.prompt!r} with seed {image.seed}")
        if image.seed is not None:
            drawn.add((image.prompt, image.seed))
        first = listed.setdefault(image.file, image)
        if first is not image:
            raise repeated(path, first, image, "they name the same file")
        images.append(image)
    if not images:
        raise LoadError(f"{path} lists no images", "", "one JSON table a line, with file_name, prompt and seed")
    if len({image.seed is None for image in images}) > 1:
        raise LoadError(f"{path} gives seeds for some images and not for others", "", "give all of them or none")
    return images


def repeated(path: Path, first: ListedImage, second: ListedImage, why: str) -> LoadError:
    """The error for one picture under two entries of the list at `path`."""
    return LoadError(
        f"{path} gives one picture twice: {first.words} and {second.words}",
        f"{why}, and an audit counts every image as another draw",
        "draw an image for every prompt and seed, and list each once",
    )


def _entry(path: Path, number: int, line: str) -> ListedImage:
    try:
        table = json.loads(line)
    except (ValueError, RecursionError):
        table = None
    table = table if isinstance(table, dict) else {}
    name, prompt, seed = table.get("file_name"), table.get("prompt", table.get("text")), table.get("seed")
    if not isinstance(name, str) or not isinstance(prompt, str) or not (seed is None or type(seed) is int):
        raise LoadError(
            f"{path}, line {number} lists no image", line[:80], "a JSON table with file_name, prompt and a whole number as seed"
        )
    try:
        file = (path.parent / name).resolve()
        exists = file.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise LoadError(f"{path}, line {number}: {name[:80]!r} is no file name", str(error)) from None
    if not file.is_relative_to(path.parent.resolve()):
        raise LoadError(f"{path}, line {number}: {name!r} lies outside the folder", "", "put the images beside the list")
    if not exists:
        raise LoadError(f"{path}, line {number}: there is no file {name!r}")
    if Path(name).suffix.lower() not in SUFFIXES or file.suffix.lower() not in SUFFIXES:
        raise LoadError(
            f"{path}, line {number}: {name!r} is of no kind that an audit reads",
            "files of other kinds do not count in the folder's digest, so a changed one would go unnoticed",
            f"save it as one of {', '.join(sorted(SUFFIXES))}",
        )
    if any(part.startswith(".") for part in file.relative_to(path.parent.resolve()).parts):
        raise LoadError(f"{path}, line {number}: {name!r} is a hidden file", "hidden files do not count", "give it another name")
    return ListedImage(file, prompt, seed, number)
