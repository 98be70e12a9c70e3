"""A user's own texts of questions: read from a folder, and checked before the first question is asked."""

from __future__ import annotations

import difflib
import traceback
from pathlib import Path
from typing import Any

from jinja2 import TemplateNotFound, TemplatesNotFound, TemplateSyntaxError, meta, nodes

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit._util.untrusted import read_within
from dmun_audit.knowledge.interview.templates import BUILT_IN, FOLDER, SUFFIX, Templates, names

MAXIMUM_BYTES = 100_000  # of one file

_ABOUT_TARGET = frozenset({"target", "kind", "aliases", "wanted"})
_NEEDED = {
    "system": {"schema"},
    "neighbours": {"target", "relation", "meaning", "wanted"},
    "rate": {"target", "names"},
    "rank": {"target", "names"},
    "look": {"target", "concept"},
    "refine": {"target", "prompts"},
    "attack": {"target", "prompts", "wanted"},
    "target": {"target"},
    "purpose": {"question"},
    "example": {"question", "example"},
}
"""The values without which a question asks for nothing. Any other question needs `target`, `listed` and `wanted` if it has them."""

_GIVEN = {"same-thing": {"target", "wanted"}, "labels": {"target", "kind", "wanted"}}
"""What these questions get of the values about the target; all others get all of them."""

_TRIED = {"text": "a prompt", "strategy": "works", "hits": 1, "images": 2, "best": 0.5}
_SAMPLES: dict[str, Any] = {
    "wanted": 4,
    "aliases": ("Another Name",),
    "neighbours": ["a concept", "another concept"],
    "listed": ["a name", "another name"],
    "taken": ["a label"],
    "names": ["a concept", "another concept"],
    "known": ("a concept",),
    "prompts": [_TRIED | {"base_hits": 1, "base_images": 2, "base_best": 0.5}],
    "working": ["a prompt"],
    "strategies": ["works", "language"],
    "nameless": ["works"],
    "shown": 2,
    "words": 40,
}
"""Values with which each text is filled once before it is used. All others are a word."""


def read_templates(folder: str) -> Templates:
    """The built-in questions with those in `folder` in place of the built-in ones of the same name.

    Raises UsageError, with file and line, for a name that no question has, a text that cannot be filled in, and a text that
    lacks a value without which it asks for nothing.
    """
    option = f"--templates={folder}"
    place = expanded(folder, option)
    if not place.is_dir():
        raise UsageError(f"{option} is no folder", "", f"give a folder with files such as target{SUFFIX}")
    own = {path.stem: _read(path) for path in _visible(place) if path.name.endswith(SUFFIX)}
    known = names()
    if not own:
        found = ", ".join(path.name for path in _visible(place)[:5]) or "nothing"
        raise UsageError(
            f"{option} holds no question", f"it holds {found}", f"name the files as in {FOLDER}: {known[0]}{SUFFIX}, …"
        )
    for name in own:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {close[0]}{SUFFIX}?" if close else f"questions: {', '.join(known)}"
            raise UsageError(f"{place / (name + SUFFIX)} is no question of the interview", "", guess)
    templates = Templates(own)
    for name in own:
        _check(templates, name, place / (name + SUFFIX))
    return templates


def ignored_files(folder: str) -> list[str]:
    """The names of the files in `folder` that `read_templates` does not read. Hidden files are not among them."""
    return [path.name for path in _visible(expanded(folder)) if path.is_file() and not path.name.endswith(SUFFIX)]


def _visible(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if not path.name.startswith("."))


def _read(path: Path) -> str:
    try:
        return read_within(path, MAXIMUM_BYTES).decode()
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        raise UsageError(f"the question {path} cannot be read", reason, "give a text file in UTF-8") from None


def _check(templates: Templates, name: str, path: Path) -> None:
    """Raise UsageError if the text cannot be filled in, or lacks a value that it needs."""
    try:
        tree = templates.environment.parse(templates.own[name])
        used = meta.find_undeclared_variables(tree)  # finds unknown filters and tests too
    except TemplateSyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.message}", "", "correct that line") from None
    except (RecursionError, ValueError) as error:  # thousands of brackets or digits
        raise UsageError(f"{path} cannot be read as a question", str(error), "shorten its expressions") from None
    available = _available(name)
    for variable in sorted(used - available):
        lines = [node.lineno for node in tree.find_all(nodes.Name) if node.name == variable]
        line = min(lines + [node.lineno for node in tree.find_all(nodes.NSRef) if node.name == variable])
        why = f"it has {', '.join(sorted(available))}"
        raise UsageError(f"{path}, line {line}: the question has no value {variable!r}", why, "use one of these")
    if missing := sorted(_NEEDED.get(name, {"target", "listed", "wanted"} & _of_built_in(name)) - used):
        lacking = ", ".join(f"{{{{ {variable} }}}}" for variable in missing)
        raise UsageError(f"{path} lacks {lacking}", "without it the question does not ask for what is needed", "add it")
    try:
        templates.fill(name, {variable: _SAMPLES.get(variable, "word") for variable in available})
    except Exception as error:  # what a text may raise depends on the expressions in it
        what = f"there is no text {', '.join(_not_found(error))}" if isinstance(error, TemplateNotFound) else str(error)
        raise UsageError(f"{path}{_line(error, name)}: {what}", "the text cannot be filled in", "correct it") from None


def _not_found(error: TemplateNotFound) -> list[str]:
    names = error.templates if isinstance(error, TemplatesNotFound) else [error.name]
    return [str(name) for name in names]


def _of_built_in(name: str) -> set[str]:
    """The values that the built-in question uses."""
    return meta.find_undeclared_variables(BUILT_IN.environment.parse((FOLDER / (name + SUFFIX)).read_text("utf-8")))


def _available(name: str) -> set[str]:
    """The values that a question gets."""
    return _of_built_in(name) | (
        set() if name in {"system", "look", "target", "purpose", "example"} else _ABOUT_TARGET & _GIVEN.get(name, _ABOUT_TARGET)
    )


def _line(error: Exception, name: str) -> str:
    """The line of the text that an error comes from, such as ", line 3"; "" if jinja2 does not know it."""
    of_text = (name + SUFFIX, "<template>")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(of_text)]
    return f", line {lines[-1]}" if lines else ""
