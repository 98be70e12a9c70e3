"""`dmun-audit compare` on real audits: of one model with and without a metric, and of a damaged one."""

import json
import shutil

import pandas
import pytest
import small_networks
from bound_runs import edit_manifest
from coarse import FEW_IMAGES, coarse_policy

import dmun_audit
from dmun_audit.cli import main

PLAIN = """
[unrelated]
prompts = 4
pairs = 1
margin = 0.5
stopping = "early"
"""


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    """A folder with the runs of three audits under one policy. The first measures a metric."""
    folder = tmp_path_factory.mktemp("methods")
    policy = coarse_policy(folder / "policy.toml", **(FEW_IMAGES | {"steps": 8}))
    policy.write_text(policy.read_text() + PLAIN)
    dino = small_networks.save_dino(folder / "dino")
    for name, model, metrics in (("a", "uce-van-gogh", [f"frechet:{dino}"]), ("b", "damaged", ()), ("c", "uce-van-gogh", ())):
        to = folder / "runs" / name
        result = dmun_audit.audit(
            f"atelier:{model}", target="Van Gogh", policy=policy, store=store, audit_dir=to, metrics=metrics
        )
        assert result.verdict not in ("INCOMPLETE", "PARTIAL"), result.reasons
    return folder / "runs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "words"), [(".md", "# 3 audits"), (".html", "<!DOCTYPE html>"), (".tex", "% 3 audits"), (".txt", "3 audits")]
)
def test_the_ending_of_the_file_says_the_format_and_what_was_written_is_told(runs, tmp_path, capsys, ending, words):
    assert main(["compare", str(runs), "-o", str(tmp_path / f"table{ending}")]) == 0
    assert (tmp_path / f"table{ending}").read_text().startswith(words)
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / f'table{ending}'} (")


@pytest.mark.slow
def test_a_metric_and_the_differences_to_any_run_reach_json_and_csv(runs, tmp_path, capsys):
    assert main(["compare", str(runs), "--reference=damaged", "-o", str(tmp_path / "table.json")]) == 0
    found = json.loads((tmp_path / "table.json").read_text())
    distances = [row["figures"]["metric: FD-DINOv2"] for row in found["methods"]]
    assert distances[0]["value"] > 0
    assert distances[0]["pairs"] == 4
    assert [each["value"] for each in distances[1:]] == [None, None]
    assert found["reference"] == "damaged"
    assert {each["name"] for each in found["differences"]} == {"uce-van-gogh (a)", "uce-van-gogh (c)"}
    assert "uce-van-gogh (a) and uce-van-gogh (c) have the same weights." in found["remarks"]
    assert main(["compare", str(runs), f"--reference={runs / 'b'}", "--format=csv", "-o", str(tmp_path / "table.txt")]) == 0
    frame = pandas.read_csv(tmp_path / "table.txt", index_col="method")
    for each in found["differences"]:
        assert frame.loc[each["name"], f"{each['group']} difference"] == pytest.approx(each["difference"])
    assert frame["reference"].unique().tolist() == ["damaged"]
    capsys.readouterr()


@pytest.mark.slow
def test_what_cannot_be_compared_or_written_is_one_error(runs, tmp_path, capsys):
    for arguments, words in (
        ([runs, "-o", tmp_path / "table.docx"], "no format has the ending .docx"),
        ([runs / "a", runs / ".." / "runs" / "a"], "is named twice"),
        ([runs, runs / "b"], "is named twice"),
        ([runs, "--reference=esd"], "is none of the runs"),
        ([runs, "--orderings", "--reference=damaged"], "has no meaning beside --orderings"),
        ([runs, "--orderings", "-o", tmp_path / "table.html"], "--orderings has no format html"),
        ([runs / "a"], "is the only run"),
    ):
        assert main(["compare", *map(str, arguments)]) == 4
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_python_takes_the_same_reference(runs):
    assert dmun_audit.compare_methods(runs, reference=runs / "b") == dmun_audit.compare_methods(runs, reference="damaged")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--orderings"]])
def test_a_comparison_replaces_an_earlier_one_and_a_dash_is_standard_output(runs, tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    for form in ("json", "markdown", "text", "json"):
        assert main(["compare", str(runs), *arguments, f"--format={form}", "-o", "table"]) == 0
    capsys.readouterr()
    assert main(["compare", str(runs), *arguments, "--json", "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "table").read_text())
    assert [each.name for each in tmp_path.iterdir()] == ["table"]


@pytest.mark.slow
def test_of_a_folder_of_runs_those_that_do_not_count_are_left_out_and_named(runs, tmp_path, capsys):
    folder = shutil.copytree(runs, tmp_path / "runs")
    edit_manifest(folder / "c", lambda manifest: manifest.update(exit_code=None))  # as if it had been killed
    assert main(["compare", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("2 audits for Van Gogh")
    assert "c is left out: " in said
    assert main(["compare", str(folder), str(folder / "c")]) == 4  # named twice
    assert main(["compare", *(str(folder / name) for name in "abc")]) == 4  # somebody named it
    assert "c cannot be compared" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_of_different_plans_are_refused_with_those_that_share_one(runs, store, tmp_path, capsys):
    folder = shutil.copytree(runs, tmp_path / "runs")
    policy = coarse_policy(tmp_path / "policy.toml", **(FEW_IMAGES | {"steps": 8, "concepts": 3}))
    dmun_audit.audit("atelier:damaged", target="Van Gogh", policy=policy, store=store, audit_dir=folder / "d")
    assert main(["compare", str(folder)]) == 4
    said = capsys.readouterr().err
    assert "have different plans" in said
    assert f"such as {folder / 'a'}, {folder / 'b'}, {folder / 'c'};" in said
