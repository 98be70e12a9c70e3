"""The results as Markdown tables: results.md, and its first table for the README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.calibration.formatting import percent, share, table
from benchmarks.calibration.known_answers import GROUPS

Row = dict[str, Any]

VERDICTS = ("PASS", "INCONCLUSIVE", "FAIL", "INCOMPLETE")
UNIT = {"erasure": "images", "adversarial": "images", "retention": "pairs"}
NOT_ERASED = ("base", "noop")
GOOD = ("retrained", "uce-van-gogh")
"""The good models with a row of their own."""

FAR = 2.0
"""A rate of more than this many times its limit is far over it."""

MOST_OF_FIXED, MOST_OF_WALD = 1 / 3, 1.2
"""What early stopping should cost at most: for failing models of the fixed number of images, for passing claims of Wald's bound."""


def _count(row: Row, verdict: str, policy: str = "early") -> int:
    return int(row["policies"][policy]["verdicts"].get(verdict, 0))


def _audits(row: Row, policy: str = "early") -> int:
    return sum(row["policies"][policy]["verdicts"].values())


def _sums(rows: Sequence[Row], verdict: str, policy: str = "early") -> tuple[int, int]:
    """Audits with a verdict, and all audits."""
    return sum(_count(row, verdict, policy) for row in rows), sum(_audits(row, policy) for row in rows)


def _images(rows: Sequence[Row], policy: str = "early") -> float:
    return float(sum(row["policies"][policy]["candidate_images"] for row in rows) / len(rows))


def _rows(results: Row, role: str, standing: str = "") -> list[Row]:
    return [row for row in results["candidates"] if row["role"] == role and standing in ("", row["standing"])]


def answer_groups(results: Row) -> list[tuple[str, list[Row]]]:
    """The candidates by their known answer: a heading and the rows of each."""
    models = _rows(results, "model")
    over = [row for row in models if row["standing"] == "over a limit" and row["name"] not in NOT_ERASED]
    good = [row for row in models if row["standing"] == "good" and row["name"] not in GOOD]
    groups: list[tuple[str, list[Row]]] = [
        ("not erased: `base`, `noop`", [row for row in models if row["name"] in NOT_ERASED]),
        (f"more than {FAR:g} times a limit", [row for row in over if row["excess"] > FAR]),
        (f"over a limit, at most {FAR:g} times", [row for row in over if row["excess"] <= FAR]),
    ]
    for group in GROUPS:
        limit = percent(results["answers"]["limits"][group])
        heading = f"{group} exactly at its limit of {limit}, the rest clean"
        groups.append((heading, [row for row in _rows(results, "limit") if row["claim"] == group]))
    uneven = [row for row in models if row["standing"] == "uneven"]
    groups.append(("under all limits, but one prompt or concept over its own", uneven))
    groups += [(f"good: `{name}`", [row for row in models if row["name"] == name]) for name in GOOD]
    groups.append(("good: other models", good))
    return [(heading, rows) for heading, rows in groups if rows]


def readme_table(results: Row) -> str:
    """The verdicts by known answer: the README's table."""
    rows = []
    for heading, candidates in answer_groups(results):
        incomplete, audits = _sums(candidates, "INCOMPLETE")
        cells = [share(*_sums(candidates, verdict)) for verdict in VERDICTS[:3]]
        early, fixed = _images(candidates), _images(candidates, "fixed")
        images = f"{early:.0f} ({early / fixed:.2f})"
        rows.append([heading, str(len(candidates)), f"{audits:,}", *cells, percent(incomplete / audits), images])
    head = ["known answer", "models", "audits", *VERDICTS, "candidate images (share of the fixed number)"]
    return table(head, rows)


def error_table(results: Row) -> str:
    """False releases and false blocks: over all candidates with such an answer, and for the worst candidate."""
    over, at_limit, good = _rows(results, "model", "over a limit"), _rows(results, "limit"), _rows(results, "model", "good")
    kinds: list[tuple[str, list[Row], str]] = [
        ("false release: PASS over a limit", over, "PASS"),
        ("false release: PASS exactly at a limit", at_limit, "PASS"),
        ("false release, both", over + at_limit, "PASS"),
        ("false block: FAIL of a good model", good, "FAIL"),
    ]
    rows = []
    for error, candidates, verdict in kinds:
        for policy in ("early", "fixed"):
            worst = max(candidates, key=lambda row: _count(row, verdict, policy) / _audits(row, policy))
            cells = [
                share(*_sums(candidates, verdict, policy)),
                f"{share(_count(worst, verdict, policy), _audits(worst, policy))}: {worst['name']}",
                _worst_by_own_threshold(candidates, policy) if verdict == "PASS" else "",
                share(*_sums(candidates, "INCONCLUSIVE", policy)),
            ]
            rows.append([error, policy, str(len(candidates)), *cells])
    head = [
        "error",
        "stopping",
        "models",
        "all audits",
        "worst model",
        "worst model, by each audit's own threshold",
        "INCONCLUSIVE",
    ]
    return table(head, rows)


def _worst_by_own_threshold(rows: Sequence[Row], policy: str) -> str:
    """The highest share of audits that passed although a rate was at its limit or over it, by their own threshold and prompts."""

    def counts(row: Row) -> tuple[int, int]:
        return int(row["policies"][policy]["pass_over_limit_at_own_threshold"]), _audits(row, policy)

    worst = max(rows, key=lambda row: counts(row)[0] / counts(row)[1])
    return f"{share(*counts(worst))}: {worst['name']}"


def candidate_table(results: Row) -> str:
    """One row for each candidate."""
    rows = []
    for row in results["candidates"]:
        rates = [
            f"{percent(row['rates'][group])} ± {percent(_half_width(row['sample'][group]))}, worst {percent(row['worst'][group])}"
            for group in GROUPS
        ]
        verdicts = [percent(_count(row, verdict) / _audits(row)) for verdict in VERDICTS]
        once = "/".join(percent(_count(row, verdict, "fixed") / _audits(row, "fixed"), "") for verdict in VERDICTS)
        early, fixed = row["policies"]["early"], row["policies"]["fixed"]
        images = f"{early['candidate_images']:.0f} / {fixed['candidate_images']:.0f}"
        base = f"{early['base_images']:.0f} / {fixed['base_images']:.0f}"
        rows.append([row["name"], row["standing"], *rates, f"{_audits(row):,}", *verdicts, once, images, base])
    head = [
        "model",
        "standing",
        *GROUPS,
        "audits",
        *VERDICTS,
        "the same, fixed number",
        "candidate images: early / fixed",
        "base images",
    ]
    return table(head, rows)


def concentrated_table(results: Row) -> str:
    """Candidates whose damage or leak is concentrated in one member of a group: verdicts, and how often the member is named."""
    rows = []
    for row in _rows(results, "concentrated"):
        summary = row["policies"]["early"]
        verdicts = [share(_count(row, verdict), _audits(row)) for verdict in VERDICTS[:3]]
        images = f"{summary['candidate_images']:.0f} / {summary['base_images']:.0f}"
        rows.append([row["name"], f"{_audits(row):,}", *verdicts, share(summary["named"], _audits(row)), images])
    return table(["candidate", "audits", *VERDICTS[:3], "the member is named", "candidate / base images"], rows)


def _half_width(interval: Sequence[float]) -> float:
    return (interval[1] - interval[0]) / 2


def claim_table(results: Row) -> str:
    """How many images each pooled claim took."""
    rows = []
    for row in results["candidates"]:
        cells = []
        for group in GROUPS:
            early, fixed = (row["policies"][policy]["claims"][group] for policy in ("early", "fixed"))
            decided = "never decided" if early["decided_at"] is None else f"decided at {early['decided_at']:.0f}"
            verdicts = "/".join(percent(early["verdicts"].get(verdict, 0) / _audits(row), "") for verdict in VERDICTS[:3])
            cells.append(f"{early['images']:.0f} of {fixed['images']:.0f}; {decided}; {verdicts}")
        rows.append([row["name"], *cells])
    head = ["model", *(f"{group}: mean {UNIT[group]}, early of fixed; decided at; PASS/INCONCLUSIVE/FAIL" for group in GROUPS)]
    return table(head, rows)


def stopping_tables(results: Row) -> str:
    """The images of failing models against the fixed number, and of passing claims against Wald's bound."""
    limits = results["answers"]["limits"]
    failing = [row for row in _rows(results, "model") if _count(row, "FAIL") / _audits(row) >= 0.99]
    rows = []
    for row in sorted(failing, key=lambda row: row["policies"]["early"]["candidate_images"]):
        early, fixed = row["policies"]["early"], row["policies"]["fixed"]
        ratio = early["candidate_images"] / fixed["candidate_images"]
        refuted = [
            f"{group} {early['claims'][group]['images'] / fixed['claims'][group]['images']:.2f}"
            for group in GROUPS
            if row["rates"][group] > limits[group]
        ]
        rates = [percent(row["rates"][group]) for group in GROUPS[:2]]
        kept = "yes" if ratio <= MOST_OF_FIXED else "no"
        rows.append([row["name"], *rates, f"{early['candidate_images']:.0f}", f"{ratio:.2f}", kept, ", ".join(refuted)])
    head = [
        "failing model",
        "erasure",
        "adversarial",
        "candidate images",
        "share of the fixed number",
        "at most a third",
        "the same for each refuted claim",
    ]
    return table(head, rows) + "\n\n" + _wald_table(results)


def _wald_table(results: Row) -> str:
    rows = []
    for row in _rows(results, "model", "good"):
        for group in GROUPS:
            bound, whole = row["wald"][group], row["wald_in_cycles"][group]
            if bound is None:
                continue
            images = row["policies"]["early"]["claims"][group]["images"]
            ratios = [images / limit for limit in (bound, whole)]
            cells = [f"{ratio:.2f} ({'yes' if ratio <= MOST_OF_WALD else 'no'})" for ratio in ratios]
            rows.append([row["name"], group, percent(row["rates"][group]), f"{images:.1f}", f"{bound:.1f}", str(whole), *cells])
    return table(
        [
            "passing model", "claim", "true rate or loss", "mean images or pairs", "Wald's bound", "bound in whole cycles",
            "ratio to the bound (at most 1.2)", "ratio in whole cycles (at most 1.2)",
        ],
        rows,
    )  # fmt: skip


def exact_table(results: Row) -> str:
    """The exact probabilities of the rules."""
    rows = []
    for row in results["exact"]:
        early, fixed, bound = row["early"], row["fixed"], row["wald"]
        cells = []
        for probabilities in (early, fixed):
            cells += [percent(probabilities[part]) for part in ("passed", "undecided", "failed")]
            cells.append(f"{probabilities['images']:.0f}")
        name = f"{row['group']}, {row['prompts']} prompts, ceiling {percent(row['ceiling'])}"
        rows.append([name, row["pattern"], percent(row["rate"]), *cells, "" if bound is None else f"{bound:.0f}"])
    fixed_head = [f"fixed {name}" for name in (*VERDICTS[:3], "images")]
    return table(["claim", "prompts", "mean rate", *VERDICTS[:3], "images", *fixed_head, "Wald's bound"], rows)


def power_table(results: Row) -> str:
    """The power curve of the erasure claim."""
    rows = []
    for row in _rows(results, "curve"):
        early, fixed = row["policies"]["early"], row["policies"]["fixed"]
        cells = [share(_count(row, verdict), _audits(row)) for verdict in VERDICTS[:3]]
        once = [percent(_count(row, verdict, "fixed") / _audits(row, "fixed")) for verdict in VERDICTS[:3]]
        images = f"{early['candidate_images']:.0f} / {fixed['candidate_images']:.0f}"
        rows.append([percent(row["rates"]["erasure"]), *cells, *once, images])
    fixed_head = [f"fixed {verdict}" for verdict in VERDICTS[:3]]
    return table(["true erasure rate", *VERDICTS[:3], *fixed_head, "candidate images: early / fixed"], rows)


INTRODUCTION = """\
`python -m benchmarks.calibration` (seed {seed}) wrote this file. It ran {early:,} audits under the policy `{policy}` ({digest}), \
and {fixed:,} audits under the same claims with a fixed number of images. The images of an audit are resampled from {images:,} \
judged images ({made}, {device}). The package's own code decides. Each audit draws its own images, base images too, so it has \
its own detection threshold, controls and valid prompts. Intervals are exact 95% intervals."""

EXPLANATION = """\
**Known answers.** The true rate of a model is its rate over all of its judged images, at the detection threshold that all judged \
base images calibrate ({threshold:g}). It is over the prompts that an audit validates with a probability over one half, and over \
the concepts that are retained and known. An audit with a higher threshold of its own claims less; the tables count both ways. \
± is half of the 95% interval of a rate, since the judged images are a sample.

- *over a limit*: the pooled rate of a group is over its limit.
- *at a limit*: the pooled rate of one group is exactly its limit. Each image of this group comes from one of two models at random, \
with replacement; the rates of the two models lie on either side of the limit. The images of the other groups come from `retrained`.
- *uneven*: all pooled rates are under their limits, but a single prompt or concept is over its own. Then neither FAIL nor PASS is \
an error.
- *good*: no rate is over a limit."""


def report(results: Row) -> str:
    """The text of results.md."""
    policy, judged, audits = results["policy"], results["judged_images"], results["audits"]
    introduction = INTRODUCTION.format(
        seed=results["seed"],
        policy=policy["name"],
        digest=policy["digest"][:12],
        images=judged["images"],
        made=judged["made"],
        device=judged["hardware"]["device"],
        **audits,
    )
    sections: list[tuple[str, Callable[[Row], str]]] = [
        ("Verdicts", readme_table),
        ("False releases and false blocks", error_table),
        ("Concentrated damage and leaks", concentrated_table),
        ("Early stopping", stopping_tables),
        ("Power over the erasure rate", power_table),
        ("Every model", candidate_table),
        ("Images of each claim", claim_table),
        ("Exact probabilities of the rules", exact_table),
    ]
    parts = ["# Calibration of the auditor", introduction, EXPLANATION.format(threshold=results["answers"]["threshold"])]
    return "\n\n".join([*parts, *(f"## {title}\n\n{make(results)}" for title, make in sections)]) + "\n"
