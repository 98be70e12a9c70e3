"""Images from outside of the audit: a folder of images, or a function that draws (for instance through a web service)."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest, digest_bytes
from dmun_audit.models.image_files import image_form, is_uniform, read_image, rgb_pixels
from dmun_audit.models.image_list import ListedImage, read_list, repeated
from dmun_audit.models.references import IMAGE_LIST, ModelReference

Draw = Callable[[list[str], list[int]], Sequence[Any]]
_own_id: dict[int, str] = {}  # by process: a fork of this process is another session
_joined = ""
UNSEEN = "No weights were seen: nothing proves which model made the candidate's images."


def session_id() -> str:
    """The same text in all workers of one test run, and another text in the next: an unseen model may have changed by then.

    A fork gets a text of its own.
    """
    return _joined or os.environ.get("PYTEST_XDIST_TESTRUNUID") or _own_id.setdefault(os.getpid(), uuid.uuid4().hex)


def join_session(text: str) -> None:
    """Let `session_id` give `text`, the one of the process for which this process works."""
    global _joined
    _joined = text


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
        self.repeats: Literal["exactly", "alike", "not at all"] = "alike" if fingerprint else "not at all"
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

    def differences(self, size: tuple[int, int]) -> list[str]:
        """Nothing: its images are not seen before they are drawn."""
        return []


class ImageFolder:
    """A folder of images, listed in `metadata.jsonl`: one JSON table a line with `file_name`, `prompt` and, if known, `seed`.

    Where the list gives seeds, an image belongs to its prompt and seed. Otherwise the images of a prompt are assigned in the
    order of the list.
    """

    repeats: Literal["exactly"] = "exactly"

    def __init__(self, reference: ModelReference) -> None:
        assert reference.path is not None
        self._list = reference.path / IMAGE_LIST
        self._text = reference.text
        images = read_list(reference.path)
        self.by_seed = images[0].seed is not None
        self._images: dict[str, list[ListedImage]] = {}
        for image in images:
            self._images.setdefault(image.prompt, []).append(image)
        self._assigned: dict[tuple[str, int], ListedImage] = {}
        self.settings: dict[str, Any] = {"images": "made elsewhere", "seeds": "as listed" if self.by_seed else "unknown"}
        pairing = (
            "Seeds are as the list gives them. Only the list says that base and candidate of a pair share their noise."
            if self.by_seed
            else "The list gives no seeds. Pairs of base and candidate share no noise, and retention claims need more images."
        )
        self.caveats = [UNSEEN, f"Sampler, steps and guidance of the candidate's images are not known. {pairing}"]

    def __len__(self) -> int:
        return sum(len(images) for images in self._images.values())

    def expect(self, wanted: Iterable[tuple[str, int]]) -> None:
        """Find the image of every (prompt, seed). Raises LoadError with the number of missing images and a prompt without one."""
        missing: dict[str, int] = {}
        taken = dict.fromkeys(self._images, 0)
        for prompt, seed in dict.fromkeys(wanted):
            image = self._find(prompt, seed, taken)
            if image is None:
                missing[prompt] = missing.get(prompt, 0) + 1
            else:
                self._assigned[prompt, seed] = image
        if not self.by_seed:  # which file a seed gets depends on the other seeds that were requested
            self.settings["handed_out"] = digest(sorted([*key, image.file.name] for key, image in self._assigned.items()))
        if missing:
            first = next(iter(missing))
            raise LoadError(
                f"{self._text} lacks {sum(missing.values())} images that the audit needs, of {len(missing)} prompts",
                f"{missing[first]} are missing of {first!r}" + ("" if not self.by_seed else ", with the seeds of the audit"),
                "dmun-audit requests lists every prompt and seed that is needed",
            )

    def _find(self, prompt: str, seed: int, taken: dict[str, int]) -> ListedImage | None:
        listed = self._images.get(prompt, [])
        if self.by_seed:
            return next((image for image in listed if image.seed == seed), None)
        place = taken.get(prompt, 0)
        if place >= len(listed):
            return None
        taken[prompt] = place + 1
        return listed[place]

    def refuse_repeats(self) -> None:
        """Read all assigned images. Raises LoadError for an unusable one, and for one picture under two entries.

        The same pixels under two seeds are most likely one file that was saved twice: a model that draws hardly ever repeats
        itself to the last bit. Two cases are left to the claims of the audit, because they say something about the model. An image
        of one colour is what a broken model or a safety filter gives for any seed, and the audit is there to count it. The same
        pixels for two prompts with one seed come from a model that exchanges prompts.
        """
        first: dict[str, list[ListedImage]] = {}
        for image in self._assigned.values():
            pixels = read_image(image.file)
            if is_uniform(pixels):
                continue
            earlier = first.setdefault(digest_bytes(f"{pixels.shape}".encode() + pixels.tobytes()), [])
            twin = next((each for each in earlier if _other_draws(each, image)), None)
            if twin is not None:
                raise repeated(self._list, twin, image, "they hold the same pixels")
            earlier.append(image)

    def sample(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        """The images of these prompts and seeds, (height, width, 3) uint8."""
        unknown = [(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True) if (prompt, seed) not in self._assigned]
        if unknown:
            self.expect([*self._assigned, *unknown])
        return [read_image(self._assigned[prompt, seed].file) for prompt, seed in zip(prompts, seeds, strict=True)]

    def differences(self, size: tuple[int, int]) -> list[str]:
        """A sentence for images of another (height, width) than the base's, and one for images that are no 8-bit RGB."""
        forms = [image_form(image.file) for image in self._assigned.values()]
        sizes = Counter(each for _, each in forms if each != size)
        modes = Counter(mode for mode, _ in forms if mode != "RGB")
        sentences = []
        if sizes:
            (height, width), _ = sizes.most_common(1)[0]
            sentences.append(
                f"{sizes.total()} of the candidate's {len(forms)} images have another size than the base's {size[0]} by {size[1]} "
                f"pixels, such as {height} by {width}: measures of pairs and of sharpness compare unlike images."
            )
        if modes:
            kinds = ", ".join(f"{count} {mode}" for mode, count in modes.most_common())
            sentences.append(
                f"{modes.total()} of the candidate's {len(forms)} images are not 8-bit RGB and were converted ({kinds})."
            )
        return sentences


def _other_draws(one: ListedImage, other: ListedImage) -> bool:
    """Whether no model that draws gives the same pixels for two entries: for two seeds, or without seeds for one prompt twice."""
    return one.seed != other.seed or (one.seed is None and one.prompt == other.prompt)


def _pixels(image: Any, function: str) -> np.ndarray:
    if hasattr(image, "convert"):
        return rgb_pixels(image, f"an image of {function}")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise LoadError(
            f"{function} gave no image",
            f"a {type(image).__name__} of type {pixels.dtype} and shape {list(pixels.shape)}",
            "return PIL images, or arrays (height, width, 3) of uint8",
        )
    return pixels
