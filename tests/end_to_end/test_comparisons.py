"""The paper's question on real audits: models order the concepts, two audits use the orderings, `compare` pools them."""

import json
import shutil

import pytest
from bound_runs import edit_manifest
from chat_server import serving
from coarse import coarse_policy
from oracles import Oracle

import dmun_audit
from dmun_audit.cli import main
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.reading import read_dossier

FIGURES = {
    "batch": 4, "steps": 2, "images": 8, "sensitivity_images": 4, "validation_images": 1, "valid_at": 1, "minimum_valid": 1, "prompts": 4,
    "sensitivity_floor": 0.01, "false_positive_ceiling": 0.99,
}  # fmt: skip
PACKS = {"damaged": "atelier-van-gogh", "uce-sunflowers": "atelier-sunflowers"}
SOURCES = {"curator", "language model knowing", "language model mistaken", "CLIP text", "CLIP image"}


class Two:
    """A model that knows both packs by heart, and one that takes every similarity for its opposite."""

    def __call__(self, body):
        asked = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
        pack = next(each for each in map(open_knowledge, PACKS.values()) if each.concepts[0].name in asked)
        if body["model"].endswith("mistaken"):
            turned = [each.model_copy(update={"similarity": 1 - each.similarity}) for each in pack.concepts]
            pack = pack.model_copy(update={"concepts": tuple(turned)})
        return Oracle(pack)(body)


@pytest.fixture(scope="module")
def ordered(tmp_path_factory):
    """A dossier of each target, ordered by both models as a user would have it done."""
    folder = tmp_path_factory.mktemp("ordered")
    with serving(Two()) as chat:
        for pack in PACKS.values():
            models = [f"--llm={chat.url}#org/{name}" for name in ("knowing", "mistaken")]
            assert main(["dossier", "order", pack, "-o", str(folder / f"{pack}.json"), "--repeats=1", *models]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(ordered, store, tmp_path_factory):
    """A run folder of each target; the first shares its images with other tests of the same policy."""
    folder = tmp_path_factory.mktemp("compared")
    figures = {"damaged": {"steps": 4}, "uce-sunflowers": FIGURES}
    for model, pack in PACKS.items():
        policy = coarse_policy(folder / f"{model}.toml", **figures[model])
        dossier, to = ordered / f"{pack}.json", folder / model
        result = dmun_audit.audit(f"atelier:{model}", dossier=dossier, policy=policy, store=store, audit_dir=to)
        assert result.verdict not in ("INCOMPLETE", "PARTIAL"), result.reasons
    return folder


def test_each_model_has_an_ordering_in_the_dossier_and_a_row_in_the_report(ordered, runs):
    assert [each.model for each in read_dossier(ordered / "atelier-van-gogh.json").orderings] == ["org/knowing", "org/mistaken"]
    run = dmun_audit.load_run(runs / "damaged")
    (case,) = (case for case in run.cases if case.group == "ordering")
    assert {row.source for row in case.tables.sources} == SOURCES
    rows = {row.source: row for row in case.tables.sources if row.damage == "kid"}
    assert rows["language model knowing"].rho == pytest.approx(rows["curator"].rho, abs=0.1)
    assert rows["language model mistaken"].rho == pytest.approx(-rows["curator"].rho, abs=0.1)
    page = run.report.read_text()
    assert '<th scope="row">language model mistaken <span class="quiet">org/mistaken</span></th>' in page
    assert "Which source predicts it best?" in page
    assert '<table class="differences">' in page


def test_the_terminal_says_which_source_comes_first_and_whether_it_can_be_told_from_others(runs, capsys):
    main(["report", str(shutil.copytree(runs / "damaged", runs / "again"))])
    words = " ".join(capsys.readouterr().out.split())
    assert "KID: " in words
    assert "first (ρ = " in words
    assert "It would take " in words
    assert words.count("No source can be told from another with 8 concepts.") == 4  # measures of damage
    assert "predicts it better than" not in words


def test_compare_pools_both_runs_in_text_markdown_and_json(runs, capsys):
    folders = [str(runs / model) for model in PACKS]
    assert main(["compare", "--orderings", *folders]) == 0
    text = capsys.readouterr().out
    assert text.startswith("16 concepts of 2 targets, in 2 runs\n")
    assert "Damage by KID" in text
    assert main(["compare", "--orderings", *folders, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["source"]: row for row in found["sources"] if row["damage"] == "kid"}
    assert rows.keys() == SOURCES
    assert rows["curator"]["runs"] == rows["curator"]["targets"] == 2
    assert rows["language model mistaken"]["rho"] == pytest.approx(-rows["language model knowing"]["rho"], abs=1e-6)
    singles = []
    for model in PACKS:
        (case,) = (case for case in dmun_audit.load_run(runs / model).cases if case.group == "ordering")
        singles.append(next(row.rho for row in case.tables.sources if (row.source, row.damage) == ("CLIP text", "kid")))
    assert rows["CLIP text"]["rho"] == pytest.approx(sum(singles) / 2)
    assert any("different policies" in remark for remark in found["remarks"])
    assert main(["compare", "--orderings", *folders, "--format=markdown"]) == 0
    assert capsys.readouterr().out.startswith("# 16 concepts of 2 targets, in 2 runs\n")
    assert dmun_audit.compare(*folders).to_json() == found


def test_runs_that_do_not_count_are_named_with_the_reason(runs, tmp_path, capsys):
    copies = {name: shutil.copytree(runs / "uce-sunflowers", tmp_path / name) for name in ("changed", "killed", "again")}
    (copies["changed"] / "evidence.jsonl").write_text((copies["changed"] / "evidence.jsonl").read_text().replace("0.5", "0.6", 1))
    edit_manifest(copies["killed"], lambda manifest: manifest.update(exit_code=None, verdict="INCOMPLETE"))
    folders = [runs / "damaged", runs / "uce-sunflowers", *copies.values()]
    found = dmun_audit.compare(*folders)
    assert [run.run.path for run in found.runs] == folders[:2]
    reasons = {each.folder.name: each.reason for each in found.left_out}
    assert reasons["changed"].startswith("its files contradict its verdict (evidence.jsonl")
    assert reasons["killed"] == "it was not concluded"
    assert reasons["again"] == f"it is another run of the same model and target as {runs / 'uce-sunflowers'}, which counts"
    assert main(["compare", "--orderings", *map(str, folders)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert all(f"left out: {copy}: " in words for copy in copies.values())
    with pytest.raises(dmun_audit.UsageError, match="cannot be compared") as error:
        dmun_audit.compare(copies["killed"])
    assert "it was not concluded" in error.value.why


def test_a_folder_that_is_no_run_is_one_clear_error(runs, tmp_path, capsys):
    assert main(["compare", "--orderings", str(runs / "damaged"), str(tmp_path)]) == 4
    assert f"ERROR: {tmp_path} is no run folder" in capsys.readouterr().err
    assert main(["compare", "--orderings", str(tmp_path / "nothing")]) == 4
    assert "is no folder" in capsys.readouterr().err
