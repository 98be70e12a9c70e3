"""A Python function of the user's as the model, for what no file format covers.

`--model=module:function`. The function may have the parameters `pipeline` (a fresh pipeline of `--base`, which it may change),
`dtype` and `device` (torch's). It returns a diffusers pipeline, or a function `draw(prompts, seeds)` that returns one image for
each prompt.

Stored images of an earlier session are used if weights and configuration alone decide what the pipeline draws: every network is
what the libraries build from its configuration, with the libraries' own code. Otherwise (processors, hooks, classes or modules of
the user's, values that they read) the pipeline is drawn anew in each session, unless it or the function has an attribute
`fingerprint`: a text that changes whenever its images would.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from dmun_audit._util import torchvision_compatibility
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.models.comparison import compared, tensor_counts
from dmun_audit.models.external_images import DrawingFunction, session_id
from dmun_audit.models.external_model import external_model
from dmun_audit.models.fingerprint import main_dtype, modules, odd_tensors, require_finite
from dmun_audit.models.folders import DTYPES
from dmun_audit.models.loaded import LoadedModel, OpenedPipeline, finish
from dmun_audit.models.proof import LoadReport, prove
from dmun_audit.models.references import ModelReference
from dmun_audit.models.source_files import Source, confirm_source
from dmun_audit.models.standard_build import changes


def load_function(
    reference: ModelReference, fresh_base: Callable[[], OpenedPipeline], dtype: str, device: str, planned: Source | None
) -> LoadedModel:
    """Call the function and load what it returns. `fresh_base` opens a pipeline of the base.

    Raises UsageError where there is no such function or where it has other parameters, and LoadError where it fails or returns no
    model.
    """
    arguments: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: fresh_base().pipeline,
        "dtype": lambda: DTYPES[dtype],
        "device": lambda: torch.device(device),
    }
    function, result = call_function(reference, arguments)
    source = confirm_source(reference, planned)
    if not hasattr(result, "components"):
        if not callable(result):
            raise LoadError(
                f"{reference.text} gave a {type(result).__name__}",
                "",
                "return a diffusers pipeline, or a function draw(prompts, seeds)",
            )
        drawing = DrawingFunction(reference, result)
        weights = digest(["drawn", source, reference.name, drawing.fingerprint])
        return external_model(reference, drawing, "images drawn by a function", source, weights)
    networks = modules(result)
    for name, network in networks.items():
        network.eval().requires_grad_(False)
        require_finite(f"{reference.text}: {name}", network.state_dict())
    result.set_progress_bar_config(disable=True)
    base = fresh_base()
    difference, warnings = compared(result, base.pipeline, reference.text)
    named = getattr(result, "fingerprint", None) or getattr(function, "fingerprint", None)
    unseen = [*odd_tensors(result), *changes(result, main_dtype(result), own=(reference.name or "").partition(":")[0])]
    notes = ["a function made this model: what it does while images are made does not show in its weights", *_kept(unseen, named)]
    report = LoadReport("pipeline of a Python function", tensor_counts(result), notes=notes, warnings=warnings)
    proof = prove(report, difference, name=reference.text, must_differ=False)
    mark = f"named {named}" if named else session_id() if unseen else ""
    beyond_weights = digest(["hook", source, reference.name, mark, *([base.beyond_weights] if base.beyond_weights else [])])
    return finish(reference, OpenedPipeline(result, report, beyond_weights), proof, device, source)


def _kept(unseen: list[str], named: Any) -> list[str]:
    """How long images of this pipeline are used: a note for each reason why no longer than this session."""
    if named:
        return (
            [f"its images are used as long as its `fingerprint` is {str(named)!r} and its weights stay the same"]
            if unseen
            else []
        )
    return [
        f"{sentence}: its images are drawn again in each session, unless the function has a `fingerprint`" for sentence in unseen
    ]


def call_function(reference: ModelReference, arguments: Mapping[str, Callable[[], Any]]) -> tuple[Any, Any]:
    """Import the function and call it; `arguments` makes the value of each parameter that it may have. Gives function and result.

    Raises UsageError where there is no such function or it has another parameter, and LoadError where it fails.
    """
    torchvision_compatibility.make_importable()  # the module may import diffusers
    module, _, name = (reference.name or "").partition(":")
    with _current_folder_first():
        try:
            function = getattr(importlib.import_module(module), name, None)
        except Exception as error:
            raise LoadError(
                f"{reference.text} cannot be imported", f"{type(error).__name__}: {error}", "correct the module"
            ) from error
    if not callable(function):
        close = difflib.get_close_matches(name, [key for key, value in vars(sys.modules[module]).items() if callable(value)], n=1)
        raise UsageError(f"{module} has no function {name!r}", "", f"did you mean {close[0]}?" if close else "check the spelling")
    parameters = list(inspect.signature(function).parameters)
    unknown = [parameter for parameter in parameters if parameter not in arguments]
    if unknown:
        raise UsageError(f"{reference.text} asks for {unknown[0]!r}", "", f"it may ask for {', '.join(arguments)}")
    try:
        return function, function(**{parameter: arguments[parameter]() for parameter in parameters})
    except UsageError:
        raise
    except Exception as error:
        raise LoadError(f"{reference.text} failed", f"{type(error).__name__}: {error}", "correct the function") from error


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """The current folder first on `sys.path`: the user's module may import modules beside it, and `sys.path` alone decides that."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
