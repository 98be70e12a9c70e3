"""Images from outside of the audit: a folder of images, or a function that draws (for instance through a web service)."""

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


def session_id() -> str:
    """The same text in every process of one test run, and another text in the next: an unseen model may have changed by then."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID") or _THIS_PROCESS


class DrawingFunction:
    """A user's function that draws: `draw(prompts, seeds)` returns a PIL image or (height, width, 3) uint8 array for each prompt.

    The audit cannot see which model draws. It therefore uses no stored images of an earlier run, unless the function has an
    attribute `fingerprint`: a text that changes whenever its images would.
    """

    def __init__(self, reference: ModelReference, draw: Draw) -> None:
        self._draw = draw
        self._reference = reference
        fingerprint = getattr(draw, "fingerprint", None)
        self.fingerprint = f"named {fingerprint}" if fingerprint else session_id()
        self.settings: dict[str, Any] = {"drawn_by": reference.text}
        self.caveats = [
            UNSEEN,
            f"Steps, guidance and sampler of {reference.text} are not known. The audit cannot see whether it uses the given seeds. "
            "If it does not, pairs of base and candidate share no noise, and retention claims need more images.",
        ]

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        """One image for every prompt and its seed, (height, width, 3) uint8; raises LoadError for anything else."""
        try:
            images = list(self._draw(list(prompts), list(seeds)))
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            raise LoadError(f"{self._reference.text} failed to draw", message, "correct the function") from error
        if len(images) != len(prompts):
            raise LoadError(
                f"{self._reference.text} gave {len(images)} images for {len(prompts)} prompts",
                "",
                "return one image for each prompt, in order",
            )
        return [_pixels(image, self._reference.text) for image in images]


class ImageFolder:
    """A folder of images, listed in `metadata.jsonl`: one JSON table a line with `file_name`, `prompt` and, if known, `seed`.

    Where the list gives seeds, an image belongs to its prompt and seed. Otherwise the images of a prompt are assigned in the
    order of the list.
    """

    def __init__(self, reference: ModelReference) -> None:
        assert reference.path is not None
        self._folder = reference.path
        self._text = reference.text
        self.by_seed, self._files = _listed(reference.path)
        self._assigned: dict[tuple[str, int], Path] = {}
        self.settings: dict[str, Any] = {"images": "made elsewhere", "seeds": "as listed" if self.by_seed else "unknown"}
        pairing = (
            "Seeds are as the list gives them. Only the list says that base and candidate of a pair share their noise."
            if self.by_seed
            else "The list gives no seeds. Pairs of base and candidate share no noise, and retention claims need more images."
        )
        self.caveats = [UNSEEN, f"Sampler, steps and guidance of the candidate's images are not known. {pairing}"]

    def __len__(self) -> int:
        return sum(len(files) for files in self._files.values())

    def expect(self, wanted: Iterable[tuple[str, int]]) -> None:
        """Find the image of every (prompt, seed). Raises LoadError with the number of missing images and a prompt without one."""
        missing: dict[str, int] = {}
        taken = dict.fromkeys(self._files, 0)
        for prompt, seed in dict.fromkeys(wanted):
            file = self._find(prompt, seed, taken)
            if file is None:
                missing[prompt] = missing.get(prompt, 0) + 1
            else:
                self._assigned[prompt, seed] = file
        if not self.by_seed:  # which file a seed gets depends on the other seeds that were requested
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
        exists = file.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise LoadError(f"{path}, line {number}: {name[:80]!r} is no file name", str(error)) from None
    if not file.is_relative_to(path.parent.resolve()):
        raise LoadError(f"{path}, line {number}: {name!r} lies outside the folder", "", "put the images beside the list")
    if not exists:
        raise LoadError(f"{path}, line {number}: there is no file {name!r}")
    return file, prompt, seed


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LoadError(f"{path} is no usable image", str(error)) from None


def _pixels(image: Any, function: str) -> np.ndarray:
    if hasattr(image, "convert"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise LoadError(
            f"{function} gave no image",
            f"a {type(image).__name__} of type {pixels.dtype} and shape {list(pixels.shape)}",
            "return PIL images, or arrays (height, width, 3) of uint8",
        )
    return pixels
