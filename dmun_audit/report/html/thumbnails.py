"""Small copies of images, as data: URIs that need no file beside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

LONGEST_SIDE = 256
_JPEG_ABOVE = 128  # pixels of the longer side; smaller pictures stay exact, as PNG


@dataclass(frozen=True)
class Thumbnail:
    """An image inside the page: its data: URI and its size in pixels."""

    source: str
    width: int
    height: int


def thumbnail(file: Path | None, longest: int = LONGEST_SIDE) -> Thumbnail | None:
    """A copy of `file` with at most `longest` pixels a side; None if there is no readable image.

    The image is decoded and encoded again, so that no other content of the file reaches the page.
    """
    small = picture(file, longest)
    if small is None:
        return None
    stream = io.BytesIO()
    if max(small.size) > _JPEG_ABOVE:
        small.save(stream, "JPEG", quality=88, optimize=True)
        kind = "jpeg"
    else:
        small.save(stream, "PNG", optimize=True)
        kind = "png"
    return Thumbnail(f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}", *small.size)


def picture(file: Path | None, longest: int) -> Image.Image | None:
    """The image in `file`, decoded, with at most `longest` pixels a side; None if there is no readable image."""
    if file is None:
        return None
    try:
        with Image.open(file) as opened:
            decoded = opened.convert("RGB")
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    decoded.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return decoded
