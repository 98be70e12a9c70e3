"""Real actors without models: they open at once, and draw, judge, fail or die as a prompt or a key says."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from dmun_audit._util.errors import StoreError
from dmun_audit.engines.renderer import Opened, Part, Renderer
from dmun_audit.plan.case import ImageRequest


def request(prompt, seed=0):
    return ImageRequest("base", prompt, 0, seed)


class LightRenderer(Renderer):
    """`die FILE` dies unless the file exists, and makes it; `die` always dies; `fail` and `refuse` raise an error of each kind."""

    def open(self):
        return Opened("here", "cpu", {}, {}, {}, {}, False)

    def _render(self, batch, missing, keys, stores):
        word = _obeyed(batch[0].prompt)
        if word == "fail":
            raise ZeroDivisionError("by a library")
        if word == "refuse":
            raise StoreError("no room", "the disk is full", "free space")
        time.sleep(0.3)
        image = np.full((2, 2, 3), batch[0].seed, np.uint8)
        return [Part(list(batch), list(missing), 0.0, [(each, image, str(os.getpid())) for each in batch])]

    def _embed(self, judge, keys, views, images):
        _obeyed(keys[0])
        time.sleep(0.1)
        return np.array([[len(key), os.getpid()] for key in keys], np.float32)


def _obeyed(text):
    """The first word of a text, after `die` was obeyed."""
    word, _, rest = text.partition(" ")
    if word == "die" and not (rest and Path(rest).exists()):
        if rest:
            Path(rest).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return word


class DyingRenderer(Renderer):
    """Dies whenever it loads its models."""

    def open(self):
        os.kill(os.getpid(), signal.SIGKILL)
