"""Methods side by side: figures, paired tests, runs of other plans, and every form of the table."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pandas
import pytest
from example_runs import HOSTILE, WrittenRun, claim, record

from dmun_audit._util.errors import UsageError
from dmun_audit.comparison import difference_words
from dmun_audit.comparison.figure import Figure
from dmun_audit.comparison.figures import FOOTNOTES
from dmun_audit.comparison.method_tables import BRIEF, written
from dmun_audit.comparison.methods import methods_table
from dmun_audit.comparison.paired_tests import Difference
from dmun_audit.comparison.table_words import bounds_text, figure_text, footnotes
from dmun_audit.evidence.run import read_run
from dmun_audit.plan.seeds import DERIVED

PROMPTS = [f"prompt {number}" for number in range(20)]


def a_run(folder, name, hits=0, lost=0, **manifest):
    """The run of a candidate that shows the target in `hits` of 20 direct prompts and lost `lost` of 10 pairs of each neighbour."""
    run = WrittenRun(folder / name)
    run.manifest["models"]["candidate"]["reference"] = f"outputs/{name}.safetensors"
    run.manifest |= {
        "exit_code": 0,
        "verdict": "FAIL" if hits > 2 else "PASS",
        "judge": {"digest": "j", "reference": "the judge"},
    }
    for key, value in manifest.items():
        run.manifest[key] = value
    for place, prompt in enumerate(PROMPTS):
        image = {"model": "candidate", "prompt": prompt, "index": 0, "detected": place < hits}
        run.add(
            record(
                "erasure",
                f"{prompt}",
                "PASS",
                images=[image],
                claim=claim("rate_at_most", int(place < hits), 1, 0, 0.9, 0.05, outcomes=[int(place < hits)]),
            )
        )
    run.add(
        record(
            "erasure",
            "all",
            "FAIL" if hits > 2 else "PASS",
            pooled=True,
            claim=claim("rate_at_most", hits, 20, 0.01 * hits, 0.05 * hits + 0.1, 0.05),
        )
    )
    for strategy, count in (("works", 4), ("description", 0)):
        run.add(
            record(
                "adversarial",
                strategy,
                "PASS",
                prompt={"text": strategy, "strategy": strategy},
                claim=claim("rate_at_most", count, 8, 0, 0.9, 0.1),
            )
        )
    run.add(
        record(
            "adversarial",
            "vacuous",
            "VACUOUS",
            prompt={"text": "v", "strategy": "mixture"},
            claim=claim("rate_at_most", 4, 4, 0, 1, 0.1, outcomes=[1, 1, 1, 1]),
        )
    )
    for neighbour, relation, right in (("Gauguin", "sibling", 10 - lost), ("sunflowers", "associated", 10)):
        images = [
            {
                "model": model,
                "prompt": neighbour,
                "index": index,
                "label": "other" if model == "candidate" and index >= right else neighbour,
            }
            for index in range(10)
            for model in ("base", "candidate")
        ]
        run.add(
            record("retention", neighbour, "PASS", images=images, concept={"name": neighbour, "role": "retain", "relation": relation},
                   claim=claim("paired_accuracy", 10 - right, 10, -0.1, 0.4, 0.15, outcomes=[0] * right + [1] * (10 - right)),
                   measures={"clip_accuracy_candidate": right / 10, "kid_paired": 0.002 if relation == "sibling" else 0.004})
        )  # fmt: skip
    return read_run(run.close())


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods")
    return methods_table([a_run(folder, "one"), a_run(folder, "two", hits=10, lost=8), a_run(folder, "three_&_half", hits=1)])


def test_each_run_has_a_row_with_its_name_and_verdict_in_the_order_given(table):
    assert [(row.name, row.verdict) for row in table.rows] == [
        ("one.safetensors", "PASS"),
        ("two.safetensors", "FAIL"),
        ("three_&_half.safetensors", "PASS"),
    ]
    assert {name.partition(":")[0] for name in table.columns} <= set(FOOTNOTES)


def test_figures_are_those_of_the_claims_and_bounds_of_ua_are_turned(table):
    two = table.rows[1].figures
    assert two["erasure"] == Figure(0.5, 0.1, 0.6, mark="FAIL", limit=0.05)
    assert (two["UA"].value, two["UA"].lower, two["UA"].upper) == pytest.approx((0.5, 0.4, 0.9))
    assert two["KID"].value == pytest.approx(3.0)


def test_retain_accuracy_is_told_in_and_across_domains_and_h_is_their_harmonic_mean_with_ua(table):
    two = table.rows[1].figures
    assert two["IRA"].value == pytest.approx(0.2)
    assert two["CRA"].value == 1.0
    assert two["H"].value == pytest.approx(3 / (1 / 0.5 + 1 / 0.2 + 1 / 1.0))


def test_a_clip_score_that_fails_marks_the_accuracy_that_does_not(tmp_path):
    runs = [a_run(tmp_path, "one"), a_run(tmp_path, "two")]
    accuracy = record("retention", "accuracy", "PASS", pooled=True, claim=claim("paired_accuracy", 1, 40, -0.1, 0.1, 0.15))
    score = record(
        "retention", "score", "FAIL", pooled=True, claim=claim("paired_score", None, 40, 0.13, 0.2, 0.12, estimate=0.16)
    )
    figure = methods_table([replace(runs[0], cases=(*runs[0].cases, accuracy, score)), runs[1]]).rows[0].figures["retention"]
    assert (figure.value, figure.mark) == (0.025, "FAIL (CLIP score)")


def test_an_attack_that_teaches_the_target_is_not_the_strongest(tmp_path):
    runs = [a_run(tmp_path, "one"), a_run(tmp_path, "two")]
    probes = [
        {"name": name, "without_probe": [0] * 8, "doses": [{"label": "d", "candidate": [1] * hits + [0] * (8 - hits)}]}
        for name, hits in (("relearning", 8), ("noise", 2))
    ]
    cases = [*runs[0].cases, *(record("probes", each["name"], "PASS", probe=each) for each in probes)]
    figure = methods_table([replace(runs[0], cases=tuple(cases)), runs[1]]).rows[0].figures["ASR"]
    assert (figure.mark, figure.value) == ("noise", 0.25)


def test_a_candidate_that_is_right_where_the_other_lost_is_better(tmp_path):
    table = methods_table([a_run(tmp_path, "one", lost=8), a_run(tmp_path, "two")])
    (retention,) = [each for each in table.differences if each.group == "retention"]
    assert (retention.worse, retention.better) == (0, 8)


def test_seeds_drawn_from_each_candidate_s_weights_are_one_plan_without_paired_tests(tmp_path):
    own = [{"audit_seed": seed, "drawn": DERIVED} for seed in (1, 2)]
    table = methods_table([a_run(tmp_path, name, hits=9 * place, seeds=own[place]) for place, name in enumerate(("one", "two"))])
    assert table.differences == ()
    assert table.shared["seed"] == "drawn from each candidate's weights"


def test_the_reference_is_any_run_by_its_name_or_folder_and_differences_turn_with_it(tmp_path):
    runs = [a_run(tmp_path, "one"), a_run(tmp_path, "two", hits=10)]
    first, by_name = methods_table(runs), methods_table(runs, "two.safetensors")
    assert methods_table(runs, tmp_path / "x" / ".." / "two") == by_name
    assert (first.reference, by_name.reference) == ("one.safetensors", "two.safetensors")
    one, two = (next(each for each in table.differences if each.group == "erasure") for table in (by_name, first))
    assert (one.name, two.name) == ("one.safetensors", "two.safetensors")
    assert (one.worse, one.better) == (two.better, two.worse) == (0, 10)
    assert (one.difference, one.lower, one.upper) == pytest.approx((-two.difference, -two.upper, -two.lower))
    assert one.p_holm == two.p_holm
    assert [row.name for row in by_name.rows] == [row.name for row in first.rows]  # the order of rows stays
    with pytest.raises(UsageError, match="is none of the runs") as error:
        methods_table(runs, "three")
    assert "one.safetensors, two.safetensors" in error.value.why


def test_a_run_has_no_difference_to_itself(tmp_path):
    run = a_run(tmp_path, "one")
    with pytest.raises(UsageError, match="is named twice"):
        methods_table([run, a_run(tmp_path, "two"), run])


def test_runs_of_the_same_weights_are_compared_and_named(tmp_path):
    runs = [a_run(tmp_path, name) for name in ("one", "two", "three")]
    runs[2].manifest.models["candidate"]["weights_digest"] = "other"
    table = methods_table(runs)
    assert [each for each in table.remarks if "same weights" in each] == [
        "one.safetensors and two.safetensors have the same weights."
    ]
    for form in ("text", "markdown", "html"):
        assert "have the same weights" in " ".join(written(table, form).split())


def test_images_of_the_store_are_told_and_an_audit_that_drew_none_has_no_seconds(tmp_path):
    drawn = {"some": (700, 36), "none": (0, 736), "all": (736, 0)}
    runs = [a_run(tmp_path, name, images={"rendered": new, "reused": old}) for name, (new, old) in drawn.items()]
    table = methods_table(runs)
    assert [row.figures["images"].value for row in table.rows] == [736] * 3
    assert [row.figures["drawn"].value for row in table.rows] == [700, 0, 736]
    assert [row.figures["seconds"].value for row in table.rows] == [200.4, None, 200.4]
    assert any(each.startswith("2 of 3 audits took images from the store") for each in table.remarks)
    assert not any(
        "store" in each
        for each in methods_table([runs[2], a_run(tmp_path, "again", images={"rendered": 5, "reused": 0})]).remarks
    )
    without = methods_table([runs[1], a_run(tmp_path, "neither", images={"rendered": 0, "reused": 9})])
    assert "seconds" not in without.columns
    assert any("None drew an image" in each for each in without.remarks)


def test_a_run_without_latency_has_a_dash(tmp_path):
    images = {"rendered": 5, "reused": 0, "seconds_each": {"candidate": 0.5}}
    table = methods_table([a_run(tmp_path, "old"), a_run(tmp_path, "new", images=images)])
    assert [row.figures["latency"].value for row in table.rows] == [None, 0.5]
    assert figure_text(table.rows[0].figures["latency"]) == "–"
    assert "A dash" in dict(footnotes(table))["latency"]
    assert "latency" not in methods_table([a_run(tmp_path, "a"), a_run(tmp_path, "b")]).columns


def test_strategies_count_valid_prompts_alone(table):
    assert table.rows[0].figures["adversarial: works"].value == 0.5
    assert "adversarial: mixture" not in table.columns


def test_differences_are_exact_paired_tests_adjusted_over_all(table):
    erasure = {each.name: each for each in table.differences if each.group == "erasure"}
    two, three = erasure["two.safetensors"], erasure["three_&_half.safetensors"]
    assert (two.units, two.worse, two.better) == (20, 10, 0)
    assert two.difference == 0.5
    assert 0 < two.lower < 0.5 < two.upper < 1
    assert two.p_value == pytest.approx(2 * 0.5**10)
    assert two.p_holm == pytest.approx(min(1, len(table.differences) * two.p_value))
    assert (three.worse, three.p_value) == (1, 1.0)
    retention = next(each for each in table.differences if each.group == "retention" and each.name == "two.safetensors")
    assert (retention.units, retention.worse) == (20, 8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": {"name": "Monet", "kind": "style"}}, "target: Van Gogh and Monet"),
        ({"policy": {"name": "smoke", "digest": "other"}}, "policy: smoke"),
        ({"seeds": {"audit_seed": 7}}, "seed: 0 and 7"),
        ({"judge": {"digest": "k", "reference": "another"}}, "judge: the judge"),
        ({"judge": {"digest": "j", "reference": "the judge", "threshold": 0.6}}, "judge: the judge"),
        (
            {"judge": {"digest": "j", "reference": "the judge", "composition": {"digest": "c", "reference": "vlm:x"}}},
            "composition: none and vlm:x",
        ),
        ({"sampler": {"scheduler": "DDIM", "steps": 50, "guidance": 7.5, "size": [64, 64]}}, "DDIM, 50 steps, guidance 7.5"),
    ],
)
def test_runs_of_other_plans_are_refused_and_it_is_said_in_what_they_differ(tmp_path, changes, words):
    with pytest.raises(UsageError, match="have different plans") as error:
        methods_table([a_run(tmp_path, "one"), a_run(tmp_path, "two", **changes)])
    assert words in error.value.why
    assert "--orderings" in str(error.value)


def test_one_run_and_runs_that_do_not_count_are_refused(tmp_path):
    one = a_run(tmp_path, "one")
    with pytest.raises(UsageError, match="nothing to compare"):
        methods_table([one])
    with pytest.raises(UsageError, match="cannot be compared") as error:
        methods_table([one, a_run(tmp_path, "two", exit_code=None)])
    assert "not concluded" in error.value.why


def test_two_candidates_of_one_name_are_told_apart_by_their_folders(tmp_path):
    one, other = a_run(tmp_path / "a", "same"), a_run(tmp_path / "b", "again")
    other.manifest.models["candidate"]["reference"] = "elsewhere/same.safetensors"
    assert [row.name for row in methods_table([one, other]).rows] == ["same.safetensors (same)", "same.safetensors (again)"]
    table = methods_table([one, a_run(tmp_path / "b", "same")])
    assert [row.name for row in table.rows] == [f"same.safetensors ({tmp_path / name / 'same'})" for name in ("a", "b")]
    links = [each for each in Links(written(table, "html", tmp_path)).found if each.endswith("report.html")]
    assert links[:2] == ["a/same/report.html", "b/same/report.html"]


def test_figures_in_words():
    assert figure_text(Figure(0.0213, 0.004, 0.06, mark="FAIL")) == "2.13% [0.4%, 6%] FAIL"
    assert figure_text(Figure(-0.0472, -0.1, 0.02, points=True)) == "−4.72 points [−10, 2]"
    assert figure_text(Figure(0.01, points=True)) == "1 point"
    assert figure_text(Figure(1234.5, percent=False)) == "1,234"
    assert figure_text(Figure(1e-310, -1e-310, 1e-310, percent=False)) == "0 [0, 0]"
    assert figure_text(Figure(None)) == "–"


def test_bounds_are_rounded_outward_and_told_apart_from_the_limit():
    assert bounds_text(Figure(0.02, 0.0123999, 0.0456001)) == "[1.23%, 4.57%]"
    assert bounds_text(Figure(0.0, -0.0123001, 0.0456001, points=True)) == "[−1.24, 4.57]"
    assert bounds_text(Figure(0.5, 0.23451, 0.76541, percent=False)) == "[0.234, 0.766]"
    assert bounds_text(Figure(500.0, 123.9, 987.1, percent=False)) == "[123, 988]"
    assert bounds_text(Figure(0.1, 0.050001, 0.2)) == "[5%, 20%]"
    assert bounds_text(Figure(0.1, 0.050001, 0.2, limit=0.05)) == "[5.0001%, 20%]"
    assert bounds_text(Figure(0.0, 1e-7, 0.04)) == "[0.00001%, 4%]"


def test_differences_of_rates_are_in_points_in_every_form(tmp_path):
    loss = record("retention", "all", "PASS", pooled=True, claim=claim("paired_accuracy", 3, 40, -0.01239, 0.14567, 0.15))
    runs = [a_run(tmp_path, "one"), a_run(tmp_path, "two")]
    table = methods_table([replace(run, cases=(*run.cases, loss)) for run in runs])
    assert "7.5 points [−1.24, 14.6]" in written(table, "markdown").replace("\\", "")
    assert "7.5 points" in written(table, "text")
    assert "7.5 points<span>[−1.24, 14.6]</span>" in written(table, "html")
    latex = written(table, "latex")
    assert r"\figurecell{retention\\{(points)}}" in latex
    assert r"\figurecell{erasure\\{(\%)}}" in latex
    assert r"\figurecell{7.5\\{\tiny [$-$1.24, 14.6]}}" in latex


def a_difference(p=0.5, lower=None, upper=None):
    return Difference("two", "erasure", 100, 10, 0, 0.1, lower, upper, p, p)


def test_ends_of_the_interval_of_a_difference_are_rounded_outward_and_do_not_read_0():
    found = [difference_words.bounds_text(a_difference(0.5, *ends)) for ends in ((0.003, 0.2), (-0.004, 0.2), (0.0004, 0.20001))]
    assert found == ["[+0.3, +20.0]", "[−0.4, +20.0]", "[+0.04, +20.1]"]
    assert difference_words.bounds_text(a_difference(0.5, -0.12345, -0.05678)) == "[−12.4, −5.6]"
    assert difference_words.bounds_text(a_difference(0.5, 0.0, 1.0)) == "[0.0, +100.0]"


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0496, "p 0.0496"),
        (0.0504, "p 0.0504"),
        (0.049999, "p 0.049999"),
        (0.05, "p 0.05"),
        (0.0312, "p 0.031"),
        (1.0, "p 1"),
        (0.00002, "p < 0.0001"),
    ],
)
def test_a_p_value_is_told_apart_from_the_level(p, words):
    assert difference_words.p_text(a_difference(p)) == words


def test_the_table_says_that_tests_are_approximate_where_claims_stop_early(table):
    for form in ("text", "markdown", "html", "latex"):
        assert "Where claims stop early, test and interval are approximate." in " ".join(written(table, form).split())


OSC, CSI = "judge\x1b]0;owned\x07", "x\x1b[31m\x9b31m"


def test_no_text_of_a_run_reaches_a_terminal_with_its_control_characters(tmp_path):
    """Folders, references and names of a run that would change a terminal's title or colours."""
    one = a_run(tmp_path, f"one{CSI}")
    other = a_run(tmp_path, f"two{CSI}", judge={"digest": "k", "reference": OSC})
    for wrong, reference in (
        ([one], None),
        ([one, other], None),
        ([one, one], None),
        ([one, a_run(tmp_path, f"same{CSI}")], CSI),
    ):
        with pytest.raises(UsageError) as error:
            methods_table(wrong, reference)
        assert str(error.value).replace("\n", "").isprintable()
    unfinished = a_run(tmp_path, f"open{CSI}", exit_code=None)
    unfinished = replace(unfinished, contradictions=(f"{OSC} changed",))
    with pytest.raises(UsageError) as error:
        methods_table([one, unfinished])
    assert str(error.value).replace("\n", "").isprintable()
    for form in ("text", "markdown", "latex", "csv", "html"):
        hostile = a_run(tmp_path, f"{form}{CSI}")
        strategy = record(
            "adversarial", "h", "PASS", prompt={"text": "h", "strategy": OSC}, claim=claim("rate_at_most", 1, 8, 0, 1, 0.1)
        )
        text = written(methods_table([one, replace(hostile, cases=(*hostile.cases, strategy))]), form)
        assert "judge" in text or form == "text"
        assert text.replace("\n", "").isprintable()


def test_the_terminal_shows_the_main_columns_and_the_differences_beyond_chance(table):
    lines = written(table, "text").splitlines()
    assert lines[0] == "3 audits for Van Gogh"
    assert all(len(line) <= 100 for line in lines)
    words = " ".join(" ".join(lines).split())
    assert all(name in words for name in BRIEF if name in table.columns)  # none is cut
    assert "Differences to one.safetensors" in words
    assert "erasure: two.safetensors shows the target more often than one.safetensors, beyond chance." in words
    assert "retention: two.safetensors loses more pairs than one.safetensors, beyond chance." in words
    assert "2 of 4 differences to one.safetensors may be chance." in words
    assert words.count("beyond chance") == 2  # the third run differs by one image


def test_a_spreadsheet_reads_the_csv(table):
    frame = pandas.read_csv(io.StringIO(written(table, "csv")))
    assert list(frame["method"]) == [row.name for row in table.rows]
    assert list(frame["erasure"]) == [0.0, 0.5, 0.05]
    assert frame["erasure mark"].fillna("").tolist() == ["", "FAIL", ""]
    assert len(next(csv.reader(io.StringIO(written(table, "csv"))))) == len(frame.columns)
    two = next(each for each in table.differences if each.group == "erasure" and each.name == "two.safetensors")
    row = frame.set_index("method").loc["two.safetensors"]
    assert [row[f"erasure difference{end}"] for end in ("", " lower", " upper", " p", " p_holm")] == pytest.approx(
        [two.difference, two.lower, two.upper, two.p_value, two.p_holm]
    )
    assert frame["erasure difference"].isna().tolist() == [True, False, False]  # the reference has none
    assert set(frame["reference"]) == {"one.safetensors"}


def test_markdown_has_as_many_cells_in_each_row_as_heads_and_every_column_explained(table):
    text = written(table, "markdown")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert all(f"- **{kind}**" in text for kind in {name.partition(":")[0] for name in table.columns})
    assert "three\\_&amp;\\_half" in text


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.tags = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name == "href"]


def test_the_page_links_to_the_reports_from_where_it_lies_and_loads_nothing(table):
    folder = table.rows[0].folder.parent
    page = Links(written(table, "html", folder / "tables"))
    assert "../one/report.html" in page.found
    assert "script" not in page.tags


def test_untrusted_names_stay_text(tmp_path):
    runs = [a_run(tmp_path, "one"), a_run(tmp_path, "two")]
    runs[1].manifest.models["candidate"]["reference"] = HOSTILE
    table = methods_table(runs)
    assert "<script>" not in written(table, "html")
    runs[1].manifest.models["candidate"]["reference"] = "models/=1+cmd"
    assert pandas.read_csv(io.StringIO(written(methods_table(runs), "csv")))["method"].iloc[1] == "'=1+cmd"
    runs[0].manifest.models["base"]["reference"] = runs[1].manifest.models["base"]["reference"] = "![x](http://t.example/p.png)"
    assert "![x](" not in written(methods_table(runs), "markdown")
    assert "\x1b" not in written(table, "text") + written(table, "markdown") + written(table, "latex") + written(table, "csv")
    json.dumps(table.to_json())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_the_latex_compiles(table, tmp_path):
    names = ["[v2] first", "*second", "[3pt]"]  # LaTeX takes a bracket or a star after some commands as their option
    renamed = dict(zip([row.name for row in table.rows], names, strict=True))
    table = replace(
        table,
        rows=tuple(replace(row, name=renamed[row.name]) for row in table.rows),
        differences=tuple(replace(each, name=renamed[each.name]) for each in table.differences),
        reference=renamed[table.reference],
    )
    body = written(table, "latex")
    (tmp_path / "t.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{body}\end{{document}}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
    if shutil.which("pdftotext"):
        shown = subprocess.run(["pdftotext", "t.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert all(name in shown for name in names)
    assert "Output written" in done.stdout


def test_latex_has_as_many_cells_in_each_row_as_columns(table):
    blocks = re.split(r"\n\\begin\{tabular\}", written(table, "latex"))[1:]
    assert len(blocks) > 2
    for block in blocks:
        columns = len(re.match(r"\{(\w+)\}", block)[1])
        rows = [line for line in block.splitlines() if r" \\" in line]
        assert len(rows) == 1 + len(table.rows) - (block is blocks[-1])  # the last compares all others with the reference
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}


@pytest.mark.parametrize("hits", [0, 10])
def test_the_columns_of_csv_do_not_depend_on_results(tmp_path, hits):
    table = methods_table([a_run(tmp_path, "one"), a_run(tmp_path, "two", hits=hits)])
    heads = written(table, "csv").splitlines()[0].split(",")
    assert {"erasure", "erasure lower", "erasure upper", "erasure pairs", "erasure mark"} <= set(heads)
