"""What a file is that is no weights file: its first bytes tell a Git LFS pointer, a web page or another text."""

from __future__ import annotations

from pathlib import Path

LOOKED_AT = 512  # bytes
LFS = b"version https://git-lfs"
WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def what_text(path: Path) -> str:
    """What the text file at `path` is, in a few words with their verb; empty for a file that is no text. Raises OSError."""
    with path.open("rb") as stream:
        start = stream.read(LOOKED_AT)
    text = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(LFS):
        return "it is a Git LFS pointer, not the file it points to; git lfs pull fetches that"
    if text.lower().startswith(WEB_PAGE):
        return "it is a web page (HTML), not the file that was to be downloaded"
    if text.startswith(b"<?xml"):
        return "it is an XML text, perhaps the error message of a download"
    plain = bool(text) and all(byte >= 9 for byte in start)
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        plain = plain and error.start > len(start) - 4  # the last letter is cut in two
    return "it is a text file" if plain else ""
