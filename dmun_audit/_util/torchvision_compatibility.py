"""Makes torchvision importable beside a CPU build of torch; import this before open_clip, torchmetrics, transformers or diffusers.

The registry's torchvision is compiled for CUDA. Beside a CPU build its C++ operators do not load, and registering their
fake kernels then raises `operator torchvision::nms does not exist` at import. None of our code calls those operators, so
declaring them is enough.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

_declared: list[Any] = []  # torch forgets a library's operators when the object is collected


def make_importable() -> None:
    """Import torchvision, declaring its two detection operators where the compiled ones cannot be loaded.

    Does nothing else if torchvision is missing or works as it is. Calling it twice is harmless. bitsandbytes, which peft imports where it
    is installed, no longer warns of kernels that it does not find.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import torchvision
    except ImportError:
        return
    except RuntimeError:
        import torch

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        import torchvision  # noqa: F401
