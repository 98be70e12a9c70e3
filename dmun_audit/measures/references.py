"""The metrics that the user names by references, `--metric=KIND:SOURCE#QUERY`. Loads no torch by itself.

A new kind of metric is one new file in `measures/kinds/` with a `KIND`, and one entry in `BUILT_IN`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from time import perf_counter

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import digest, digest_file
from dmun_audit.judge.detector_kind import SharedModels
from dmun_audit.judge.reference import ATELIER_JUDGE, JudgeReference, local_path
from dmun_audit.measures.kinds import aesthetic, csd, dreamsim, frechet, hps, labels, pickscore, vqascore
from dmun_audit.measures.metric_kind import MetricKind, ReferencedMetric
from dmun_audit.models.references import atelier_judge

BUILT_IN = (
    frechet.KIND,
    pickscore.KIND,
    hps.KIND,
    aesthetic.KIND,
    vqascore.KIND,
    csd.KIND,
    dreamsim.KIND,
    labels.KIND,
)

_LOG = logging.getLogger(__name__)


def metric_kinds() -> dict[str, MetricKind]:
    """All kinds of metric by name."""
    return {kind.name: kind for kind in BUILT_IN}


def parse_metric(text: str) -> JudgeReference:
    """The metric that `text` names. Raises LoadError for an unknown kind, and for a source that is not there."""
    text = text.strip()
    kinds = metric_kinds()
    name, colon, rest = text.partition(":")
    if not colon or name not in kinds:
        close = difflib.get_close_matches(name, kinds, n=1, cutoff=0.5)
        suggestion = f"did you mean {close[0]}:? " if close else ""
        usages = ", ".join(kind.usage for kind in kinds.values())
        raise LoadError(f"metric {text!r} is of no known kind", "", f"{suggestion}use one of {usages}")
    source, _, query = (part.strip() for part in rest.partition("#"))
    if not source:
        raise LoadError(f"metric {text!r} names no model", f"no source follows {name}:", f"use {kinds[name].usage}")
    reference = JudgeReference(text, name, source, query, role="metric")
    kinds[name].check(reference)
    return reference


def metric_title(name: str) -> str:
    """How reports call the metric of that name: as its kind says, else by its name."""
    titles = {known: title for kind in BUILT_IN for known, title in kind.titles.items()}
    stem, _, rest = name.partition("_")
    return titles.get(name, f"Labels of {rest.replace('_', '-')}" if stem == labels.KIND.name and rest else name)


def metric_note(reference: str) -> str:
    """How to read the values of the metric of a reference; empty for one of no known kind."""
    kind = metric_kinds().get(reference.partition(":")[0])
    return kind.note if kind else ""


def parse_metrics(texts: Iterable[str]) -> tuple[JudgeReference, ...]:
    """The metrics of several references. Raises LoadError as `parse_metric` does, UsageError for one that is given twice."""
    references = tuple(map(parse_metric, texts))
    given = [reference.text for reference in references]
    if twice := next((text for text in given if given.count(text) > 1), None):
        raise UsageError(f"the metric {twice!r} is given twice", "it would be measured twice", "omit one of them")
    return references


def digest_of_sources(reference: JudgeReference) -> str:
    """SHA-256 over a reference and the content of the local files that it names. A hub id counts by its text."""
    return digest([reference.kind, _content(reference.source), _content(reference.query)])


def open_metrics(texts: Sequence[str], models: SharedModels, taken: Iterable[str] = ()) -> list[ReferencedMetric]:
    """Open the metrics of several references. `taken` are the names of other metrics.

    Raises LoadError where one cannot be opened, UsageError where two have one name: their values could not be told apart.
    """
    metrics: list[ReferencedMetric] = []
    owners = dict.fromkeys(taken, "a metric of another package")
    for reference in parse_metrics(texts):
        start = perf_counter()
        metric = metric_kinds()[reference.kind].open(reference, models)
        _LOG.debug("opened the metric %s (%s) in %.2f s", metric.name, reference.text, perf_counter() - start)
        if metric.name in owners:
            raise UsageError(
                f"the metric {reference.text!r} gives values called {metric.name!r}",
                f"so does {owners[metric.name]}",
                "name them in two audits; images are drawn once",
            )
        owners[metric.name] = repr(reference.text)
        metrics.append(metric)
    return metrics


def _content(part: str) -> object:
    """What decides about the files that a part of a reference names: their digests by name, or else the part itself."""
    clip = part.removeprefix("local-dir:")
    path = atelier_judge() if part == ATELIER_JUDGE else local_path(clip) if part else None
    if path is None:
        return part
    if path.is_file():
        return ["file", _digest_of(path)]
    files = {
        file.relative_to(path).as_posix(): file
        for file in path.rglob("*")
        if file.is_file() and not any(step.startswith(".") for step in file.relative_to(path).parts)
    }
    return ["folder", [[name, _digest_of(files[name])] for name in sorted(files)]]


def _digest_of(path: Path) -> str:
    """The digest of a file. A file is read again only once its size or its time is another one."""
    try:
        status = path.stat()
        return _remembered_digest(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", str(error)) from None


@cache
def _remembered_digest(path: Path, size: int, changed: int) -> str:
    return digest_file(path)
