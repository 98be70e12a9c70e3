"""The results in words and tables: Markdown for results.md, of which the first table is the README's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scipy import stats

from benchmarks.calibration.subjects import GROUPS

Row = dict[str, Any]
VERDICTS = ("PASS", "INCONCLUSIVE", "FAIL", "INCOMPLETE")
UNIT = {"erasure": "images", "adversarial": "images", "retention": "pairs"}
NOT_ERASED = ("base", "noop")
GOOD_ALONE = ("retrained", "uce-van-gogh")
FAR = 2.0  # times its limit
MOST_OF_FIXED, MOST_OF_WALD = 1 / 3, 1.2  # what early stopping should cost: failing models, claims that pass


def exact(hits: int, trials: int) -> tuple[float, float]:
    """The two-sided 95% interval of Clopper and Pearson."""
    found = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def share(hits: int, trials: int) -> str:
    """A share in percent with its exact interval."""
    low, high = exact(hits, trials)
    return f"{percent(hits / trials)} [{percent(low, '')}–{percent(high)}]"


def percent(value: float, sign: str = "%") -> str:
    """In percent, to two or three figures, never rounded to none or to all."""
    scaled = 100 * value
    if 0 < scaled < 0.01:
        return f"<0.01{sign}"
    if 99.99 < scaled < 100:
        return f">99.99{sign}"
    digits = 0 if scaled in (0, 100) else 2 if scaled < 1 or scaled > 99.5 else 1
    return f"{scaled:.{digits}f}{sign}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _count(row: Row, verdict: str, policy: str = "early") -> int:
    return int(row["policies"][policy]["verdicts"].get(verdict, 0))


def _audits(row: Row, policy: str = "early") -> int:
    return sum(row["policies"][policy]["verdicts"].values())


def _together(rows: Sequence[Row], verdict: str, policy: str = "early") -> tuple[int, int]:
    return sum(_count(row, verdict, policy) for row in rows), sum(_audits(row, policy) for row in rows)


def _images(rows: Sequence[Row], policy: str = "early") -> float:
    return float(sum(row["policies"][policy]["candidate_images"] for row in rows) / len(rows))


def _of(results: Row, role: str, *standings: str) -> list[Row]:
    return [row for row in results["subjects"] if row["role"] == role and (not standings or row["standing"] in standings)]


def groups(results: Row) -> list[tuple[str, list[Row]]]:
    """The rows of the README's table: what the models are, and which they are."""
    models = _of(results, "model")
    bad = [row for row in models if row["standing"] == "bad" and row["name"] not in NOT_ERASED]
    good = [row for row in models if row["standing"] == "good" and row["name"] not in GOOD_ALONE]
    made: list[tuple[str, list[Row]]] = [
        ("not erased: `base`, `noop`", [row for row in models if row["name"] in NOT_ERASED]),
        (f"over a limit by more than {FAR:g} times", [row for row in bad if row["excess"] > FAR]),
        (f"over a limit, by at most {FAR:g} times", [row for row in bad if row["excess"] <= FAR]),
    ]
    for group in GROUPS:
        at_limit = [row for row in _of(results, "limit") if row["claim"] == group]
        limit = percent(results["truth"]["limits"][group])
        made.append((f"{group} exactly at its limit of {limit}, the rest clean", at_limit))
    made.append(("under all limits, one prompt or concept alone over", [row for row in models if row["standing"] == "uneven"]))
    made += [(f"good: `{name}`", [row for row in models if row["name"] == name]) for name in GOOD_ALONE]
    made.append(("good: other degrees", good))
    return [(name, rows) for name, rows in made if rows]


def readme_table(results: Row) -> str:
    """The table that stands in the README."""
    rows = []
    for name, members in groups(results):
        cells = [share(*_together(members, verdict)) if verdict != "INCOMPLETE" else "" for verdict in VERDICTS]
        incomplete, audits = _together(members, "INCOMPLETE")
        cells[3] = percent(incomplete / audits)
        early, fixed = _images(members), _images(members, "fixed")
        rows.append([name, str(len(members)), f"{audits:,}", *cells, f"{early:.0f} ({early / fixed:.2f})"])
    head = ["what is true of the model", "models", "audits", *VERDICTS, "candidate images (of fixed-n)"]
    return _table(head, rows)


def _worst(rows: Sequence[Row], verdict: str, policy: str = "early") -> Row:
    return max(rows, key=lambda row: _count(row, verdict, policy) / _audits(row, policy))


def errors(results: Row) -> str:
    """False releases and false blocks, over all models that may not have one and of the worst of them."""
    bad = _of(results, "model", "bad") + _of(results, "limit")
    good = _of(results, "model", "good")
    rows = []
    kinds: list[tuple[str, list[Row], str]] = [
        ("false release: PASS of a model over a limit", _of(results, "model", "bad"), "PASS"),
        ("false release: PASS of a model exactly at a limit", _of(results, "limit"), "PASS"),
        ("false release, both", bad, "PASS"),
        ("false block: FAIL of a good model", good, "FAIL"),
    ]
    for name, members, verdict in kinds:
        for policy in ("early", "fixed"):
            worst = _worst(members, verdict, policy)
            cells = [
                share(*_together(members, verdict, policy)),
                f"{share(_count(worst, verdict, policy), _audits(worst, policy))}: {worst['name']}",
                _by_own_threshold(members, policy) if verdict == "PASS" else "",
                share(*_together(members, "INCONCLUSIVE", policy)),
            ]
            rows.append([name, policy, str(len(members)), *cells])
    head = [
        "error",
        "stopping",
        "models",
        "rate over all audits",
        "of the worst model",
        "worst by own thresholds",
        "INCONCLUSIVE beside it",
    ]
    return _table(head, rows)


def _by_own_threshold(rows: Sequence[Row], policy: str) -> str:
    """The worst model's audits that passed with a true rate at a limit or over it by their own threshold and their own valid prompts."""

    def found(row: Row) -> tuple[int, int]:
        return int(row["policies"][policy]["pass_over_limit_at_own_threshold"]), _audits(row, policy)

    worst = max(rows, key=lambda row: found(row)[0] / found(row)[1])
    return f"{share(*found(worst))}: {worst['name']}"


def every_model(results: Row) -> str:
    """All subjects, one a row."""
    rows = []
    for row in results["subjects"]:
        rates = [
            f"{percent(row['rates'][group])} ± {percent(_reach(row['sample'][group]))}, worst {percent(row['worst'][group])}"
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
        "the same, fixed-n",
        "candidate images: early / fixed",
        "base images",
    ]
    return _table(head, rows)


def _reach(interval: Sequence[float]) -> float:
    """Half of what an interval spans: how well the bank knows a rate."""
    return (interval[1] - interval[0]) / 2


def claims(results: Row) -> str:
    """How many images each pooled claim took."""
    rows = []
    for row in results["subjects"]:
        cells = []
        for group in GROUPS:
            early, fixed = (row["policies"][policy]["claims"][group] for policy in ("early", "fixed"))
            decided = "never decided" if early["decided_at"] is None else f"decided at {early['decided_at']:.0f}"
            told = "/".join(percent(early["verdicts"].get(verdict, 0) / _audits(row), "") for verdict in VERDICTS[:3])
            cells.append(f"{early['images']:.0f} of {fixed['images']:.0f}; {decided}; {told}")
        rows.append([row["name"], *cells])
    head = ["model", *(f"{group}: {UNIT[group]} early of fixed-n; decided at; PASS/INCONCLUSIVE/FAIL" for group in GROUPS)]
    return _table(head, rows)


def stopping(results: Row) -> str:
    """Failing models against fixed-n, passing ones against Wald's bound."""
    failing = [row for row in _of(results, "model") if _count(row, "FAIL") / _audits(row) >= 0.99]
    rows = []
    for row in sorted(failing, key=lambda row: row["policies"]["early"]["candidate_images"]):
        early, fixed = row["policies"]["early"], row["policies"]["fixed"]
        ratio = early["candidate_images"] / fixed["candidate_images"]
        refuted = [
            f"{group} {early['claims'][group]['images'] / fixed['claims'][group]['images']:.2f}"
            for group in GROUPS
            if row["rates"][group] > results["truth"]["limits"][group]
        ]
        ratios = [f"{percent(row['rates'][group])}" for group in GROUPS[:2]]
        met = "yes" if ratio <= MOST_OF_FIXED else "no"
        rows.append([row["name"], *ratios, f"{early['candidate_images']:.0f}", f"{ratio:.2f}", met, ", ".join(refuted)])
    head = [
        "failing model",
        "erasure",
        "adversarial",
        "candidate images",
        "of fixed-n",
        "at most a third",
        "each refuted claim, of fixed-n",
    ]
    return _table(head, rows) + "\n\n" + _table(*_against_wald(results))


def _against_wald(results: Row) -> tuple[list[str], list[list[str]]]:
    rows = []
    for row in _of(results, "model", "good"):
        for group in GROUPS:
            bound, whole = row["wald"][group], row["wald_in_rounds"][group]
            if bound is None:
                continue
            images = row["policies"]["early"]["claims"][group]["images"]
            ratios = [images / limit for limit in (bound, whole)]
            met = [f"{ratio:.2f} ({'yes' if ratio <= MOST_OF_WALD else 'no'})" for ratio in ratios]
            rows.append([row["name"], group, percent(row["rates"][group]), f"{images:.1f}", f"{bound:.1f}", str(whole), *met])
    head = [
        "passing model",
        "claim",
        "true rate or loss",
        "mean images or pairs",
        "Wald's bound",
        "in whole rounds",
        "ratio (≤ 1.2)",
        "ratio in rounds (≤ 1.2)",
    ]
    return head, rows


def simulated(results: Row) -> str:
    """The rules alone, exactly."""
    rows = []
    for row in results["simulated"]:
        early, fixed, bound = row["early"], row["fixed"], row["wald"]
        cells = [percent(early[part]) for part in ("passed", "undecided", "failed")]
        cells += [
            f"{early['images']:.0f}",
            *(percent(fixed[part]) for part in ("passed", "undecided", "failed")),
            f"{fixed['images']:.0f}",
        ]
        name = f"{row['group']}, {row['prompts']} prompts, ceiling {percent(row['ceiling'])}"
        rows.append([name, row["pattern"], percent(row["rate"]), *cells, "" if bound is None else f"{bound:.0f}"])
    head = ["claim", "prompts leak", "mean rate", "PASS", "INCONCLUSIVE", "FAIL", "images"]
    return _table([*head, "fixed PASS", "fixed INCONCLUSIVE", "fixed FAIL", "fixed images", "Wald"], rows)


def curve(results: Row) -> str:
    """The power curve of the erasure claim."""
    rows = []
    for row in _of(results, "curve"):
        early, fixed = row["policies"]["early"], row["policies"]["fixed"]
        told = [share(_count(row, verdict), _audits(row)) for verdict in VERDICTS[:3]]
        once = [percent(_count(row, verdict, "fixed") / _audits(row, "fixed")) for verdict in VERDICTS[:3]]
        images = f"{early['candidate_images']:.0f} / {fixed['candidate_images']:.0f}"
        rows.append([percent(row["rates"]["erasure"]), *told, *once, images])
    head = [
        "true erasure rate",
        *VERDICTS[:3],
        *(f"fixed {verdict}" for verdict in VERDICTS[:3]),
        "candidate images: early / fixed",
    ]
    return _table(head, rows)


def report(results: Row) -> str:
    """All of results.md."""
    truth, policy, bank = results["truth"], results["policy"], results["bank"]
    audits = results["audits"]
    intro = (
        f"Written by `python -m benchmarks.calibration` (seed {results['seed']}): {audits['early']:,} audits under policy `{policy['name']}` "
        f"({policy['digest'][:12]}) and {audits['fixed']:,} under the same claims with a fixed number of images, resampled from a bank of "
        f"{bank['images']:,} judged images ({bank['made']}, {bank['hardware']['device']}). The decisions are the product's own code; every audit "
        f"draws its own images, base images too: its own threshold, controls and valid prompts. Intervals are 95%, exact."
    )
    what = (
        f"**What is true.** The rates of a model over all of its images in the bank, by the threshold that all base images there calibrate "
        f"({truth['threshold']:g}), over the prompts that are valid more often than not, and the concepts that count. An audit whose own threshold came out "
        f"higher claims less; both countings are given. ± is half of the 95% interval that the bank itself, a sample, leaves a rate. *bad*: a pooled rate over its limit. *at a limit*: made so, each image of one group "
        f"drawn by a coin from either of two models whose rates lie on both sides, with replacement; the other groups are those of `retrained`. "
        f"*uneven*: pooled rates under their limits, yet a prompt or concept alone is over its own, so a FAIL is no false one and a PASS "
        f"no false claim. *good*: nothing is over a limit."
    )
    parts: list[tuple[str, Callable[[Row], str]]] = [
        ("Verdicts", readme_table), ("False releases and false blocks", errors), ("Early stopping", stopping), ("Power over the erasure rate", curve),
        ("Every model", every_model), ("Images of each claim", claims), ("The rules alone, exactly", simulated),
    ]  # fmt: skip
    sections = [f"## {title}\n\n{make(results)}" for title, make in parts]
    return "\n\n".join(["# The auditor audited", intro, what, *sections]) + "\n"
