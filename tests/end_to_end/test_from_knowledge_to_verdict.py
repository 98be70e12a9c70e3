"""From a language model to a verdict: `dossier build`, `pytest audits/ --knowledge=…`, the table of orderings in the report."""

import json
import os
import re
import sys
from pathlib import Path

import processes
import pytest
from chat_server import serving
from oracles import Looker, atelier_knowledge

from dmun_audit.knowledge.reading import read_dossier

ROOT = Path(__file__).parents[2]
KEY = "sk-of-no-use-0123456789"
SOURCES = ["language model", "vision-language model looker", "CLIP text", "CLIP image"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Very few images of two steps: nothing can be judged by them, and the machinery runs all the same."""
    figures = {"steps": 2, "sensitivity_images": 4, "validation_images": 1, "valid_at": 1, "minimum_valid": 1, "prompts": 4}
    return _policy(tmp_path_factory, figures | {"concepts": 3, "pairs": 2})


def _policy(tmp_path_factory, figures):
    text = (ROOT / "dmun_audit/policy/built_in/smoke.toml").read_text()
    for name, value in figures.items():
        text, found = re.subn(rf"^{name} = \d+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1
    path = tmp_path_factory.mktemp("policy") / "mine.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def chat():
    """A language model with eyes that knows the atelier's Van Gogh."""
    with serving(Looker(atelier_knowledge())) as running:
        yield running


@pytest.fixture(scope="module")
def built(chat, tmp_path_factory):
    """A dossier with the orderings of a language model and of a vision-language model, built as a user builds one."""
    path = tmp_path_factory.mktemp("built") / "van-gogh.json"
    model = f"{chat.url}#looker"
    command = ["dossier", "build", "Van Gogh", "--base=atelier:base", f"--llm={model}", f"--vlm={model}", "-o", path]
    run = _run("-m", "dmun_audit.cli", *command)
    assert run.returncode == 0, run.stderr
    assert f"{path}: " in run.stdout
    return path


def _run(*arguments):
    environment = os.environ | {"OPENAI_API_KEY": KEY}
    command = [sys.executable, *map(str, arguments)]
    return processes.run(command, cwd=ROOT, env=environment)


def _audit(*arguments):
    return _run("-m", "pytest", "audits/", "-p", "no:cacheprovider", *arguments)


def _evidence(folder):
    return [json.loads(line) for line in (folder / "evidence.jsonl").read_text().splitlines()]


def test_a_language_model_named_by_knowledge_is_asked_once_and_frozen(chat, quick, tmp_path):
    asked = len(chat.requests)
    options = [f"--knowledge={chat.url}#looker", "--target=Van Gogh", f"--policy={quick}", f"--store={tmp_path / 's'}"]
    first = _audit(*options, "--collect-only", "-q")
    assert first.returncode == 0, first.stdout + first.stderr
    paid = len(chat.requests) - asked
    assert paid > 20
    (frozen,) = (tmp_path / "s" / "dossiers").glob("van-gogh-*[0-9a-f].json")
    before = frozen.read_bytes()
    run = _audit(*options, f"--audit-dir={tmp_path / 'run'}", "-n", "2")
    assert "VERDICT" in run.stdout, run.stdout
    assert f"frozen in {frozen}" in run.stdout
    assert len(chat.requests) - asked == paid
    assert frozen.read_bytes() == before
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["dossier"]["provenance"]["model"] == "looker"
    assert manifest["dossier"]["provenance"]["questions"] == paid
    assert manifest["dossier"]["digest"] == read_dossier(frozen).digest()
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_an_audit_that_names_no_language_model_asks_none(chat, built, quick, store, tmp_path):
    asked = len(chat.requests)
    script = (
        "import sys, pytest; code = pytest.main(sys.argv[1:]);"
        "ours = [name for name in sys.modules if name.startswith('dmun_audit.knowledge.language_models.')];"
        "print('opened:', sorted(name.rpartition('.')[2] for name in ours)); sys.exit(code)"
    )
    for knowledge in ([], [f"--knowledge={built}"]):
        options = [f"--policy={quick}", f"--store={store}", f"--audit-dir={tmp_path / str(len(knowledge))}", *knowledge]
        run = _run("-c", script, "audits/", "-p", "no:cacheprovider", *options)
        assert "VERDICT" in run.stdout, run.stdout + run.stderr
        opened = re.search(r"opened: \[(.*)\]", run.stdout)[1]
        assert not {"http", "local", "transcript"} & set(re.findall(r"\w+", opened))
    assert len(chat.requests) == asked


def test_the_table_of_orderings_is_filled_for_every_source_and_damage(built, store, tmp_path):
    run = _audit(
        "--model=atelier:damaged", "--policy=smoke", f"--knowledge={built}", f"--store={store}", f"--audit-dir={tmp_path}"
    )
    assert "VERDICT FAIL" in run.stdout, run.stdout
    (ordering,) = [record for record in _evidence(tmp_path) if record["group"] == "ordering"]
    rows = ordering["tables"]["sources"]
    assert [(row["source"], row["damage"]) for row in rows] == [
        (s, d) for s in SOURCES for d in ("clip_accuracy", "clip_score", "kid", "cmmd")
    ]
    assert all(-1 <= row["lower"] <= row["rho"] <= row["upper"] <= 1 for row in rows)
    assert all(0 < row["p_value"] <= 1 and row["n"] >= 5 for row in rows)
    assert len({round(row["rho"], 6) for row in rows}) > 4
    page = (tmp_path / "report.html").read_text()
    table = page[page.index('<table class="orderings">') :].partition("</table>")[0]
    assert re.findall(r'<tr><th scope="row">([^<]+?)(?: <span class="quiet">looker</span>)?</th>', table) == SOURCES
    assert table.count("<strong>ρ = ") == 16
    told = page[page.index("</table>", page.index('<table class="orderings">')) :]
    assert all(
        words in told for words in ("Higher damage is worse", "Ties share their average rank", "95% interval", "permutation test")
    )


def test_prompts_that_an_attack_found_are_regression_tests(store, tmp_path):
    """A dossier whose first prompts are known to reach `base`: the audit of a model that was never erased fails on each."""
    knowledge = read_dossier(ROOT / "dmun_audit/knowledge/packs/atelier-van-gogh.json").model_dump(mode="json")
    knowledge["adversarial"][0]["note"] = "found by attack in round 1: 4 of 4 on the candidate, 2 of 2 on base"
    (tmp_path / "found.json").write_text(json.dumps(knowledge))
    folder = tmp_path / "run"
    run = _audit(
        "--model=atelier:base",
        "--policy=smoke",
        f"--knowledge={tmp_path / 'found.json'}",
        f"--store={store}",
        f"--audit-dir={folder}",
    )
    assert run.returncode == 1, run.stdout
    first = next(record for record in _evidence(folder) if record["group"] == "adversarial" and record["prompt"])
    assert first["prompt"]["note"].startswith("found by attack")
    assert first["claim"]["hits"] == first["claim"]["trials"] > 0
    assert "found by attack in round 1" in (folder / "report.html").read_text()
