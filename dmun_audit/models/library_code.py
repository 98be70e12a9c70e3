"""Whether the code of torch, diffusers and transformers is theirs: a method that somebody replaced shows in no digest of weights.

A function belongs to a library if its code lies in a folder of installed packages. Only the user's own code lies elsewhere, or in the
package that the user names. Code in C, and values that the libraries' functions read at other places, are not seen.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

LIBRARIES = ("torch", "diffusers", "transformers")
MOST_LAYERS = 20  # of decorators around a function


def replaced_code(classes: Iterable[type], own: str = "") -> Iterator[str]:
    """A sentence for each method of `classes`, or of what they inherit from, and for each function of the libraries that is another's.

    `own` is the name of the user's own package, which counts as the user's wherever it is installed.
    """
    ours = _places_of(own)
    for cls in dict.fromkeys(parent for each in classes for parent in each.__mro__):
        if cls.__module__.partition(".")[0] in LIBRARIES:
            for name, value in list(vars(cls).items()):
                if file := _foreign_file(value, ours):
                    yield f"{cls.__qualname__}.{name} was replaced by code in {file}"
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] in LIBRARIES and isinstance(module, ModuleType):
            for name, value in list(vars(module).items()):
                if file := _foreign_file(value, ours):
                    yield f"{module_name}.{name} was replaced by code in {file}"
    yield from _global_hooks()


def _global_hooks() -> Iterator[str]:
    from torch.nn.modules import module

    if module._global_forward_hooks or module._global_forward_pre_hooks:
        yield "hooks are registered for all modules of torch"


def _foreign_file(value: Any, ours: tuple[str, ...]) -> str:
    """The file of the user's code behind a function, a class or an object that can be called; empty if there is none."""
    if _is(value, type):
        return _foreign_module(value, ours)
    for function in _functions(value):
        code, home = function.__code__.co_filename, str(function.__globals__.get("__name__", ""))
        made_from_text = code.startswith("<")  # as dataclasses make their methods
        file = getattr(sys.modules.get(home), "__file__", None) or "" if made_from_text else code
        if file and _is_foreign(file, ours):
            return file
    if callable(value) and not _is(value, FunctionType, MethodType, ModuleType):
        return _foreign_module(type(value), ours)
    return ""


def _foreign_module(cls: type, ours: tuple[str, ...]) -> str:
    file = getattr(sys.modules.get(str(cls.__module__)), "__file__", None)
    return file if isinstance(file, str) and _is_foreign(file, ours) else ""


def _functions(value: Any) -> Iterator[FunctionType]:
    """A function and those that its decorators wrap; the functions of a property, and of a method of a class."""
    if _is(value, property):
        parts = [value.fget, value.fset]
    elif _is(value, staticmethod, classmethod, MethodType):
        parts = [value.__func__]
    elif _is(value, partial):
        parts = [value.func]
    else:
        parts = [value]
    for part in parts:
        for _ in range(MOST_LAYERS):
            if not _is(part, FunctionType):
                break
            yield part
            part = vars(part).get("__wrapped__")


def _is(value: Any, *kinds: type) -> bool:
    """Whether a value is of one of these classes, by its type alone: some values of torch warn if they are asked themselves."""
    return issubclass(type(value), kinds)


def _is_foreign(file: str, ours: tuple[str, ...]) -> bool:
    return _lies_in(file, ours) or not _lies_in(file, _installed())


def _lies_in(file: str, places: tuple[str, ...]) -> bool:
    return bool(places) and (file.startswith(places) or _resolved(file).startswith(places))


@cache
def _resolved(file: str) -> str:
    return os.path.realpath(file)


@cache
def _installed() -> tuple[str, ...]:
    """The folders of installed packages and of Python's own modules, each ending in a separator."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[1])}
    for library in LIBRARIES:
        file = getattr(sys.modules.get(library), "__file__", None)
        folders |= {str(Path(file).parent)} if file else set()
    return tuple({os.path.join(form, "") for folder in folders for form in (folder, os.path.realpath(folder))})


def _places_of(package: str) -> tuple[str, ...]:
    """Where the code of a top-level package lies: its folder, or its file."""
    file = getattr(sys.modules.get(package.partition(".")[0]), "__file__", None)
    if not file:
        return ()
    path = Path(file)
    return tuple({os.path.join(path.parent, "") if path.stem == "__init__" else str(path)})
