"""Asks in the terminal: blinded copies of the images lie in a temporary folder, one question each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.spot_check.labeling_session import LabelingSession

_MEANINGS = {"y": "yes", "n": "no", "u": "unsure"} | {"yes": "yes", "no": "no", "unsure": "unsure"}
_HELP = "answer y (yes), n (no), u (cannot tell), b (back to the image before) or q (stop; the labels are kept)"


def ask_in_terminal(
    labeling_session: LabelingSession, question: str, ask: Callable[[str], str], say: Callable[[str], None]
) -> None:
    """Put the question for every image that has no answer yet; `ask` returns a line and raises EOFError where none comes.

    Raises UsageError where nobody answers at all.
    """
    with tempfile.TemporaryDirectory(prefix="spot-check-") as folder:
        copies = [Path(folder, f"{place:03}.png") for place in range(1, len(labeling_session.order) + 1)]
        for copy, key in zip(copies, labeling_session.order, strict=True):
            copy.write_bytes(labeling_session.picture(key))
        say(f"The images lie in {folder} until this ends: open them in a viewer of yours.")
        say(_HELP[0].upper() + _HELP[1:] + ".")
        place, heard = labeling_session.first_open, 0
        while place < len(labeling_session.order):
            say(f"\n[{place + 1}/{len(labeling_session.order)}] {copies[place]}")
            try:
                line = ask(f"{question} [y/n/u/b/q] ").strip().lower()
            except EOFError:
                if heard:
                    return
                raise UsageError("nobody answers", "standard input is at its end", "use a terminal, or --browser") from None
            heard += 1
            if line in ("q", "quit"):
                return
            if line in ("b", "back"):
                place = max(0, place - 1)
            elif line in _MEANINGS:
                labeling_session.answer(labeling_session.order[place], _MEANINGS[line])
                place += 1
            else:
                say(_HELP)
