"""Candidates whose weights are not seen: images made elsewhere, and functions that draw (a service behind an API)."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.models.references import IMAGE_LIST, ModelReference

Draw = Callable[[list[str], list[int]], Sequence[Any]]
_THIS_PROCESS = uuid.uuid4().hex
UNSEEN = "No weights were seen: nothing proves which model made the candidate's images."


def session_mark() -> str:
    """The same text in every process of one test run, another one in the next: what is unseen may have changed by then."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID") or _THIS_PROCESS


class DrawingFunction:
    """A user's function as the maker of images: `draw(prompts, seeds)` gives one PIL image or (height, width, 3) uint8 array each.

    What stands behind it cannot be seen, so stored images are not taken over from an earlier run, unless the function has an
    attribute `fingerprint`, a text that changes whenever its images would.
    """

    def __init__(self, reference: ModelReference, draw: Draw) -> None:
        self._draw = draw
        self._reference = reference
        named = getattr(draw, "fingerprint", None)
        self.fingerprint = f"named {named}" if named else session_mark()
        self.settings: dict[str, Any] = {"drawn_by": reference.text}
        self.forgoes = [
            UNSEEN,
            f"{reference.text} draws by its own means: steps, guidance and sampler are not known. Whether it keeps to the seeds it is given "
            "cannot be seen either; where it does not, pairs of base and candidate share no noise, which costs retention claims images.",
        ]

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        """One image for every prompt and its seed, (height, width, 3) uint8; raises LoadError for anything else."""
        try:
            drawn = list(self._draw(list(prompts), list(seeds)))
        except Exception as error:
            raise LoadError(f"{self._reference.text} failed to draw", f"{type(error).__name__}: {error}", "mend it") from error
        if len(drawn) != len(prompts):
            raise LoadError(
                f"{self._reference.text} gave {len(drawn)} images for {len(prompts)} prompts", "", "give one each, in order"
            )
        return [_pixels(picture, self._reference.text) for picture in drawn]


class ImageFolder:
    """Images made elsewhere, listed in `metadata.jsonl`: one JSON table a line with `file_name`, `prompt` and, if known, `seed`.

    With seeds an image belongs to its prompt and seed. Without, the images of a prompt are handed out in the order of the list.
    """

    def __init__(self, reference: ModelReference) -> None:
        assert reference.path is not None
        self._folder = reference.path
        self._text = reference.text
        self.by_seed, self._files = _listed(reference.path)
        self._assigned: dict[tuple[str, int], Path] = {}
        self.settings: dict[str, Any] = {"images": "made elsewhere", "seeds": "as listed" if self.by_seed else "unknown"}
        pairing = (
            "Seeds are as the list gives them: that base and candidate of a pair share their noise rests on it."
            if self.by_seed
            else "The list gives no seeds: pairs of base and candidate share no noise, which costs retention claims images."
        )
        self.forgoes = [UNSEEN, f"Sampler, steps and guidance of the candidate's images are not known. {pairing}"]

    def __len__(self) -> int:
        return sum(len(files) for files in self._files.values())

    def expect(self, wanted: Iterable[tuple[str, int]]) -> None:
        """Find the image of every (prompt, seed); raises LoadError that counts and names what is missing."""
        missing: dict[str, int] = {}
        taken = dict.fromkeys(self._files, 0)
        for prompt, seed in dict.fromkeys(wanted):
            found = self._find(prompt, seed, taken)
            if found is None:
                missing[prompt] = missing.get(prompt, 0) + 1
            else:
                self._assigned[prompt, seed] = found
        if not self.by_seed:  # which file a seed gets depends on what else was asked for
            self.settings["handed_out"] = digest(sorted([*key, path.name] for key, path in self._assigned.items()))
        if missing:
            first = next(iter(missing))
            raise LoadError(
                f"{self._text} lacks {sum(missing.values())} images that the audit needs, of {len(missing)} prompts",
                f"{missing[first]} are missing of {first!r}" + ("" if not self.by_seed else ", with the seeds of the audit"),
                "dmun-audit requests lists every prompt and seed that is needed",
            )

    def _find(self, prompt: str, seed: int, taken: dict[str, int]) -> Path | None:
        listed = self._files.get(prompt, [])
        if self.by_seed:
            return next((file for file, number in listed if number == seed), None)
        place = taken.get(prompt, 0)
        if place >= len(listed):
            return None
        taken[prompt] = place + 1
        return listed[place][0]

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        """The images of these prompts and seeds, (height, width, 3) uint8."""
        unknown = [(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True) if (prompt, seed) not in self._assigned]
        if unknown:
            self.expect([*self._assigned, *unknown])
        return [_read(self._assigned[prompt, seed]) for prompt, seed in zip(prompts, seeds, strict=True)]


def _listed(folder: Path) -> tuple[bool, dict[str, list[tuple[Path, int | None]]]]:
    files: dict[str, list[tuple[Path, int | None]]] = {}
    path = folder / IMAGE_LIST
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would cut prompts at rarer separators
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read", str(error)) from None
    seen: set[Any] = set()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            file, prompt, seed = _entry(path, number, line)
            if seed is not None and (prompt, seed) in seen:
                raise LoadError(f"{path}, line {number}: a second image of prompt {prompt!r} with seed {seed}")
            seen.add((prompt, seed))
            files.setdefault(prompt, []).append((file, seed))
    seeds = [seed for listed in files.values() for _, seed in listed]
    if not seeds:
        raise LoadError(f"{path} lists no images", "", "one JSON table a line, with file_name, prompt and seed")
    if None in seeds and any(seed is not None for seed in seeds):
        raise LoadError(f"{path} gives seeds for some images and not for others", "", "give all of them or none")
    return None not in seeds, files


def _entry(path: Path, number: int, line: str) -> tuple[Path, str, int | None]:
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
        there = file.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise LoadError(f"{path}, line {number}: {name[:80]!r} is no file name", str(error)) from None
    if not file.is_relative_to(path.parent.resolve()):
        raise LoadError(f"{path}, line {number}: {name!r} lies outside the folder", "", "put the images beside the list")
    if not there:
        raise LoadError(f"{path}, line {number}: there is no file {name!r}")
    return file, prompt, seed


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LoadError(f"{path} is no usable image", str(error)) from None


def _pixels(picture: Any, where: str) -> np.ndarray:
    if hasattr(picture, "convert"):
        picture = picture.convert("RGB")
    pixels = np.asarray(picture)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise LoadError(
            f"{where} gave no image",
            f"a {type(picture).__name__} of type {pixels.dtype} and shape {list(pixels.shape)}",
            "give PIL images, or arrays (height, width, 3) of uint8",
        )
    return pixels
