"""Paths as a user writes them."""

from __future__ import annotations

import os
from pathlib import Path

from dmun_audit._util.errors import UsageError


def expanded(text: str | os.PathLike[str], what: str = "") -> Path:
    """The path that `text` names, with `~` and `~user` replaced by the home folder. `what` names it in the error.

    Raises UsageError where there is no such user, or where the home folder is unknown.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        raise UsageError(
            f"{what or text} names no folder or file",
            f"{user} stands for the home folder of a user, and this machine knows none for it",
            "write the path in full",
        ) from None
