"""Images from outside of the audit as pixels: what can be converted without loss of meaning is, and the rest is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dmun_audit._util.errors import LoadError

MOST_PIXELS = 89_478_485  # of one image; more would fill the memory, and Pillow warns of a decompression bomb from here on
PLAIN_MODES = {"1", "L", "P", "RGB", "CMYK", "YCbCr"}  # Pillow's modes with 8 bits a channel and no transparency
WITH_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}


def read_image(path: Path) -> np.ndarray:
    """The pixels of an image file, (height, width, 3) uint8, turned as its EXIF orientation says.

    Raises LoadError for a file that is no image, that holds several pictures or more than `MOST_PIXELS`, and for what
    `rgb_pixels` refuses.
    """
    from PIL import ImageOps

    with _opened(path) as image:
        try:
            return rgb_pixels(ImageOps.exif_transpose(image), str(path))
        except (OSError, ValueError, SyntaxError) as error:
            raise LoadError(f"{path} is no usable image", str(error), "save it again as PNG") from None


def image_form(path: Path) -> tuple[str, tuple[int, int]]:
    """Pillow's mode of an image file and its (height, width) in pixels, from its header. Raises LoadError as `read_image` does."""
    with _opened(path) as image:
        turned = image.getexif().get(0x0112, 1) in {5, 6, 7, 8}
        return image.mode, (image.width, image.height) if turned else (image.height, image.width)


def rgb_pixels(image: Any, name: str) -> np.ndarray:
    """A Pillow image as (height, width, 3) uint8; `name` is its name in errors.

    16 bits of grey are scaled to 8. Raises LoadError for transparent pixels, because nobody knows the background that they were
    meant for, and for floating-point and 32-bit numbers, because nobody knows their range.
    """
    deep = image.mode.startswith("I;16")
    if image.mode in WITH_ALPHA or ("transparency" in image.info and not deep):
        with_alpha = np.asarray(image.convert("RGBA"))
        if (with_alpha[..., 3] < 255).any():
            raise LoadError(
                f"{name} has transparent pixels",
                "nobody knows the background that they were meant for",
                "save the image without an alpha channel",
            )
        return np.ascontiguousarray(with_alpha[..., :3])
    if deep and "transparency" not in image.info:
        grey = (np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode not in PLAIN_MODES:
        raise LoadError(
            f"{name} has pixels of the kind {image.mode!r}",
            "the range of such numbers is not known, and Pillow would cut them to 0 … 255",
            "save the image with 8 bits a channel",
        )
    return np.asarray(image.convert("RGB"))


def is_uniform(pixels: np.ndarray) -> bool:
    """Whether all pixels have one colour."""
    return bool((pixels == pixels[:1, :1]).all())


def _opened(path: Path) -> Any:
    """The image file, with only its header read."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is an error below
            image = Image.open(path)
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise LoadError(f"{path} is no usable image", str(error), "save it again as PNG") from None
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise _too_large(path)
    if getattr(image, "n_frames", 1) > 1:
        image.close()
        raise LoadError(f"{path} holds several pictures", "nobody knows which one is meant", "save one of them")
    return image


def _too_large(path: Path) -> LoadError:
    return LoadError(
        f"{path} is too large an image",
        f"an image may have {MOST_PIXELS:,} pixels; this one could fill the memory",
        "save it in the size in which the model draws",
    )
