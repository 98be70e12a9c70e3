"""A Python function of the user's as the model: for what no format covers.

`--model=module:function`. The function may take `pipeline` (a fresh pipeline of `--base`, its to change), `dtype` and `device` (torch's),
each by that name. It returns a diffusers pipeline, or a function `draw(prompts, seeds)` that returns one image for each.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.models.references import ModelReference, on_path


def call_hook(reference: ModelReference, gives: Mapping[str, Callable[[], Any]]) -> Any:
    """Import the function and call it; `gives` makes each argument that it may ask for.

    Raises UsageError where there is no such function or it asks for something else, and LoadError where it fails.
    """
    torchvision_compatibility.make_importable()  # the module may import diffusers
    module, _, name = (reference.name or "").partition(":")
    with on_path():
        try:
            function = getattr(importlib.import_module(module), name, None)
        except Exception as error:
            raise LoadError(
                f"{reference.text} cannot be imported", f"{type(error).__name__}: {error}", "mend the module"
            ) from error
    if not callable(function):
        close = difflib.get_close_matches(name, [key for key, value in vars(sys.modules[module]).items() if callable(value)], n=1)
        raise UsageError(f"{module} has no function {name!r}", "", f"did you mean {close[0]}?" if close else "check the spelling")
    asked = list(inspect.signature(function).parameters)
    unknown = [argument for argument in asked if argument not in gives]
    if unknown:
        raise UsageError(f"{reference.text} asks for {unknown[0]!r}", "", f"it may ask for {', '.join(gives)}")
    try:
        return function(**{argument: gives[argument]() for argument in asked})
    except UsageError:
        raise
    except Exception as error:
        raise LoadError(f"{reference.text} failed", f"{type(error).__name__}: {error}", "mend it") from error
