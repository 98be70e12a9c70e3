"""Asks in the terminal. Blinded copies of the images are in a temporary folder; each image gets one question."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.spot_check.labeling_session import LabelingSession

_MEANINGS = {"y": "yes", "n": "no", "u": "unsure"} | {"yes": "yes", "no": "no", "unsure": "unsure"}
_HELP = "answer y (yes), n (no), u (cannot tell), b (back to the previous image) or q (stop; the labels are kept)"


def ask_in_terminal(session: LabelingSession, question: str, ask: Callable[[str], str], say: Callable[[str], None]) -> None:
    """Ask `question` about every image without an answer. `ask` returns a line, and raises EOFError at the end of the input.

    Raises UsageError if the input ends before the first answer.
    """
    with tempfile.TemporaryDirectory(prefix="spot-check-") as folder:
        copies = [Path(folder, f"{number:03}.png") for number in range(1, len(session.order) + 1)]
        for copy, key in zip(copies, session.order, strict=True):
            copy.write_bytes(session.png(key))
        say(f"The images are in {folder} until you stop: open them in an image viewer.")
        say(_HELP[0].upper() + _HELP[1:] + ".")
        position, lines = session.first_open, 0
        while position < len(session.order):
            say(f"\n[{position + 1}/{len(session.order)}] {copies[position]}")
            try:
                line = ask(f"{question} [y/n/u/b/q] ").strip().lower()
            except EOFError:
                if lines:
                    return
                raise UsageError("nobody answers", "standard input is at its end", "use a terminal, or --browser") from None
            lines += 1
            if line in ("q", "quit"):
                return
            if line in ("b", "back"):
                position = max(0, position - 1)
            elif line in _MEANINGS:
                session.answer(session.order[position], _MEANINGS[line])
                position += 1
            else:
                say(_HELP)
