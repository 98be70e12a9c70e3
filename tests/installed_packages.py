"""Packages that a test installs: a module and its entry points in a folder on the import path."""

import importlib
import sys
from textwrap import dedent


def install(folder, monkeypatch, name, source, entry_points):
    """Install a package `name` of one module into `folder`, with entry points {group: {entry: object of the module}}.

    It is gone after the test. Another process sees it where `folder` is on its PYTHONPATH.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(dedent(source))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{entry} = {name}:{target}" for entry, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.delitem(sys.modules, name, raising=False)
    if str(folder) not in sys.path:
        monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
