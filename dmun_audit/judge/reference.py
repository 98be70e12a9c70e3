"""The parts of a judge's reference, and the CLIP references. Loads no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmun_audit._util.errors import LoadError
from dmun_audit._util.paths import expanded
from dmun_audit.models.references import atelier_judge

ATELIER_JUDGE = "atelier:judge"
CLIP_PREFIXES = ("local-dir", "open_clip", "hf-hub", "atelier")
CLIP_USAGE = "local-dir:PATH, open_clip:ARCH/TAG, hf-hub:OWNER/NAME or atelier:judge"


@dataclass(frozen=True)
class JudgeReference:
    """A judge, or a metric, as the user named it: `KIND:SOURCE#QUERY`.

    `text` is the whole reference. `kind` is "clip" or the name of a kind of detector. `source` names what is opened: a folder,
    a file, a hub id ("owner/name@revision"), a CLIP model, a language model; of a CLIP reference it is the whole text.
    `query` says what to look for: labels, a text, a folder of pictures. An empty query means: the target itself. `role` is what
    errors call it.
    """

    text: str
    kind: str
    source: str
    query: str = ""
    role: Literal["judge", "metric"] = "judge"


def clip_parts(reference: str) -> tuple[str, str | None]:
    """Model name and weights tag of a CLIP reference, as open_clip takes them. Raises LoadError for any other reference."""
    prefix, _, rest = reference.partition(":")
    if reference == ATELIER_JUDGE:
        return clip_parts(f"local-dir:{atelier_judge()}")
    if prefix == "open_clip" and "/" in rest:
        architecture, _, tag = rest.partition("/")
        return architecture, tag
    if prefix == "local-dir" and rest:
        if not os.path.isfile(os.path.join(rest, "open_clip_config.json")):
            raise LoadError(
                f"judge {reference!r}: no open_clip_config.json in {rest}",
                "open_clip reads the architecture from that file",
                "check the path",
            )
        return reference, None
    if prefix == "hf-hub" and rest:
        return reference, None
    raise LoadError(f"judge {reference!r} is of no known kind", "it names no CLIP model", f"use {CLIP_USAGE}")


def check_clip(reference: str) -> None:
    """Raise LoadError unless `reference` names a CLIP model and its folder, if it names one, is there."""
    if reference != ATELIER_JUDGE:
        clip_parts(reference)


def is_clip(reference: str) -> bool:
    """Whether `reference` begins as a CLIP reference does."""
    prefix, colon, _ = reference.partition(":")
    return bool(colon) and prefix in CLIP_PREFIXES


def local_path(source: str) -> Path | None:
    """The file or folder that a source names; None for a hub id."""
    path = expanded(source)
    return path if os.path.exists(path) else None  # unlike Path.exists, it takes a name that no file can have


def looks_like_path(source: str) -> bool:
    """Whether a source is spelt as a path, so that it cannot be a hub id."""
    return source.startswith((".", "/", "~"))
