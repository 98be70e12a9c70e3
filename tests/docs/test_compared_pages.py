"""Pages that show what `dmun-audit compare` prints: the same comes from the outcomes in the golden files, by the command's own code."""

import json
import re
from pathlib import Path

import pytest
from example_runs import WrittenRun

from dmun_audit.comparison.method_tables import written
from dmun_audit.comparison.methods import methods_table
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.evidence.run import read_run
from dmun_audit.evidence.schema import CaseRecord, ClaimRecord

ROOT = Path(__file__).parents[2]
KINDS = {"erasure": "rate_at_most", "adversarial": "rate_at_most", "retention": "paired_accuracy"}
PAGES = {
    "docs/explanation/worked-example.md": ["uce-van-gogh", "damaged"],
    "docs/guides/comparing.md": ["uce-van-gogh", "damaged", "base"],
}


def golden_run(folder, model, groups):
    """A run with the single cases of a golden file that the paired tests compare. `groups` are the groups by case id."""
    run = WrittenRun(folder / model)
    run.manifest["models"]["candidate"] |= {"reference": f"atelier:{model}", "weights_digest": model}
    golden = json.loads((ROOT / "tests" / "golden" / f"{model}.json").read_text("utf-8"))
    run.manifest |= {"verdict": golden["verdict"], "exit_code": 0}
    for case_id, (verdict, hits, trials, outcomes) in golden["cases"].items():
        if groups.get(case_id) in KINDS and outcomes is not None:
            kind = KINDS[groups[case_id]]
            claim = ClaimRecord(kind=kind, hits=hits, trials=trials, outcomes=tuple(outcomes), estimate=hits / trials)
            run.add(CaseRecord(case_id=case_id, group=groups[case_id], verdict=verdict, claim=claim))
    return read_run(run.close())


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_differences_that_the_command_prints(page, tmp_path):
    plan = resolve(Options(model="atelier:uce-van-gogh", target="Van Gogh", policy="standard")).plan
    groups = {case.id: case.group for case in plan.cases if case.gating}
    table = methods_table([golden_run(tmp_path, model, groups) for model in PAGES[page]])
    printed = written(table, "text")
    printed = printed[printed.index("Differences to") : printed.index("\n\nAll ")]
    shown = re.findall(r"^(Differences to .*?)\s*^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(shown) == 1
    assert shown[0] == (printed if page.endswith("comparing.md") else printed.partition("\n\nIn percentage points")[0])


def test_the_rates_of_the_worked_example_are_those_of_the_golden_files():
    page = (ROOT / "docs/explanation/worked-example.md").read_text("utf-8")
    for model in PAGES["docs/explanation/worked-example.md"]:
        golden = json.loads((ROOT / "tests" / "golden" / f"{model}.json").read_text("utf-8"))["cases"]
        (row,) = re.findall(rf"^  {model} +(?:PASS|FAIL) +(.+)$", page, re.MULTILINE)
        shares = [float(share) for share in re.findall(r"([\d.]+)(?:%| points?)", row)]
        starts = (
            "all-direct-prompts-together",
            "all-valid-adversarial-prompts",
            "all-fresh-prompts-together",
            "all-retained-concepts",
        )
        for share, start in zip([*shares[:3], shares[4]], starts, strict=True):  # the fourth is that of substitutes
            ((_, hits, trials, _),) = [case for case_id, case in golden.items() if case_id.startswith(start)]
            assert share == pytest.approx(100 * hits / trials, abs=0.051)
