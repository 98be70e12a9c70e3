"""All probes in their order: one for each file here that defines `PROBE`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from dmun_audit.probes.probe import Probe


@cache
def probes() -> tuple[Probe, ...]:
    """Every probe, the cheap ones first."""
    package = __package__ or ""
    modules = [importlib.import_module(f"{package}.{info.name}") for info in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return tuple(sorted((module.PROBE for module in modules if hasattr(module, "PROBE")), key=lambda probe: probe.order))


def probe_named(name: str) -> Probe:
    """The probe of that name. Raises KeyError if there is none."""
    for probe in probes():
        if probe.name == name:
            return probe
    raise KeyError(name)
