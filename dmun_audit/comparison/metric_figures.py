"""The figures of metrics that runs measured besides (--metric, and metrics of other packages), on all plain prompts together."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from scipy.stats import t

from dmun_audit.comparison.figure import Figure
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import CaseRecord
from dmun_audit.measures.metric_kind import FEATURES, IMAGES, PROMPTS
from dmun_audit.measures.references import metric_title
from dmun_audit.measures.registry import BUILT_IN
from dmun_audit.report.formatting import is_number, one_line

METRIC = "metric"
"""What the column of a metric begins with, before the colon."""

_CONFIDENCE = 0.95
_MOST = 10**9  # images or prompts; a larger number is no count
_BESIDE = frozenset({"base", "difference", "standard_error", "real_base", "real_images", IMAGES, PROMPTS, FEATURES})
"""Parts of a metric's values that have no column of their own: they say on what the others rest, or measure the base."""


def plain_prompts(run: Run) -> CaseRecord | None:
    """The record of what was measured on all plain prompts together; None if the run has none."""
    found = [case for case in run.of_group("unrelated") if "fid" in case.measures]
    return found[-1] if found else None


def metrics_apart(runs: Sequence[Run]) -> frozenset[str]:
    """The names of metrics that are not the same in all runs that have them: other weights or settings measured them."""
    digests: dict[str, set[str]] = {}
    for run in runs:
        for entry in run.manifest.metrics:
            digests.setdefault(str(entry.get("name", "")), set()).add(str(entry.get("digest", "")))
    return frozenset(name for name, found in digests.items() if len(found) > 1)


def metric_figures(run: Run, apart: frozenset[str] = frozenset()) -> dict[str, Figure]:
    """One figure for each metric of a run, by column, and one for the change from the base where the record has it.

    The change is candidate minus base with its 95% interval over prompts: Student's t with one degree of freedom less than there are
    prompts. Runs that do not record the number of prompts have no interval. A metric in `apart` has the beginning of its digest in its
    column, so that two networks never share one.
    """
    record = plain_prompts(run)
    if record is None:
        return {}
    digests = {str(entry.get("name", "")): str(entry.get("digest", "")) for entry in run.manifest.metrics}
    values = {name: value for name, value in record.measures.items() if name not in BUILT_IN}
    found: dict[str, Figure] = {}
    for name in dict.fromkeys([*digests, *sorted(value.partition(".")[0] for value in values)]):
        parts = {value.partition(".")[2]: number for value, number in values.items() if value.partition(".")[0] == name}
        title = one_line(metric_title(name)) + (f" ({digests.get(name, '')[:8]})" if name in apart else "")
        found |= {f"{METRIC}: {title}{words}": figure for words, figure in _figures(parts).items()}
    return found


def _figures(parts: dict[str, float]) -> dict[str, Figure]:
    """The figures of one metric, by what follows its title in the name of the column. `parts` are its values by part."""
    pairs = _count(parts.get(IMAGES))
    own = {part: value for part, value in parts.items() if part not in _BESIDE and not _is_share(part, parts)}
    found = {_words(part): Figure(value, percent=False, pairs=pairs) for part, value in own.items()}
    if "difference" in parts:
        change, reach = parts["difference"], _reach(parts.get("standard_error"), _count(parts.get(PROMPTS)), pairs)
        lower, upper = (None, None) if reach is None else (change - reach, change + reach)
        found[", change"] = Figure(change, lower, upper, percent=False, pairs=pairs)
    return found


def _words(part: str) -> str:
    known = {"": "", "candidate": "", "real_candidate": " from real images", "total_variation": ", change of labels"}
    return known.get(part, f", {one_line(part.replace('_', ' '))}")


def _is_share(part: str, parts: dict[str, float]) -> bool:
    """Whether a part is the share of one label. There may be many, and their distance has a column."""
    return "total_variation" in parts and part.startswith(("base.", "candidate."))


def _count(value: float | None) -> int | None:
    """A number of images or prompts. None for what can be none, in a file that somebody edited."""
    return int(value) if is_number(value) and 1 <= value <= _MOST and float(value).is_integer() else None


def _reach(error: float | None, prompts: int | None, pairs: int | None) -> float | None:
    """Half of the width of the interval of a mean over pairs of several prompts; None without numbers that can give one."""
    if not is_number(error) or error < 0 or prompts is None or pairs is None or not 2 <= prompts <= pairs:
        return None
    reach = error * float(t.ppf((1 + _CONFIDENCE) / 2, prompts - 1))
    return reach if isfinite(reach) else None
