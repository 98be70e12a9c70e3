"""--baseline: a candidate that is worse than an earlier one fails and the audit says in what; one that is as good does not."""

import json
import os
import shutil
from dataclasses import replace

import pytest
from bound_runs import edit_manifest

import dmun_audit
from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.cli import main
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.baseline import refuse_images_elsewhere, refuse_other_conditions
from dmun_audit.config.describe import describe
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.decisions.checked_run import checked_run
from dmun_audit.evidence.checksums import write_checksums
from dmun_audit.evidence.inputs import BASELINE_FILE
from dmun_audit.knowledge.dossier import write_dossier
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.models.references import parse_reference
from dmun_audit.plan.baseline import BASELINE, kept_baseline
from dmun_audit.policy import load_policy
from dmun_audit.policy.sections import Fresh

SMOKE = load_policy("smoke")
PACK = "atelier-van-gogh"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("baselines")


@pytest.fixture(scope="module")
def audit(folder, store):
    def run(model, name, policy=SMOKE, **options):
        to = folder / name
        return dmun_audit.audit(f"atelier:{model}", dossier=PACK, policy=policy, store=store, audit_dir=to, **options)

    return run


@pytest.fixture(scope="module")
def first(audit, folder):
    assert audit("uce-van-gogh", "first").verdict == "PASS"
    return folder / "first"


@pytest.fixture(scope="module")
def damaged(audit, first):
    return audit("damaged", "damaged", baseline=[first])


def compared(run):
    return {case.case_id.rpartition("-")[0]: case for case in run.cases if case.group == BASELINE}


def test_the_same_candidate_is_not_worse_and_nothing_is_drawn_twice(audit, first, folder):
    result = audit("uce-van-gogh", "same", baseline=[first])
    cases = compared(result)
    assert result.verdict == "PASS"
    assert cases.keys() == {"erasure", "adversarial", "retention"}
    assert all(set(case.claim.outcomes) == {0} for case in cases.values())
    assert checked_run(folder / "same").manifest.images["rendered"] == 0
    assert not checked_run(folder / "same").contradictions


def test_a_comparison_that_says_little_is_announced(first, damaged, folder, store):
    given = {"target": "Van Gogh", "policy": SMOKE, "store": str(store)}
    same = describe(resolve(Options(**given, model="atelier:uce-van-gogh", baseline=(str(first),))))
    assert any("warning: the baseline has the same weights" in line for line in same)
    assert not any("the audit of the baseline ended with" in line for line in same)
    bad = describe(resolve(Options(**given, model="atelier:uce-van-gogh", baseline=(str(folder / "damaged"),))))
    assert any("warning: the audit of the baseline ended with FAIL" in line for line in bad)
    assert not any("same weights" in line for line in bad)


def test_a_worse_candidate_fails_and_the_audit_says_in_what(damaged):
    assert damaged.verdict == "FAIL"
    cases = compared(damaged)
    assert {name for name, case in cases.items() if case.verdict == "FAIL"} == {"erasure", "adversarial", "retention"}
    assert "The judge misses the concept in" in cases["retention"].seen
    assert "This candidate did worse most often with" in cases["retention"].seen
    assert "Van Gogh is in" in cases["erasure"].seen
    reasons = [reason for reason in damaged.reasons if "draws nearby concepts as well" in reason]
    assert len(reasons) == 1
    assert reasons[0].startswith("Refuted: ")
    wrong = [image for image in cases["retention"].images if image.against]
    assert len(wrong) == cases["retention"].claim.hits > 0


def test_a_better_candidate_passes_against_a_worse_one(audit, damaged, folder):
    cases = compared(audit("uce-van-gogh", "better", baseline=[folder / "damaged"]))
    assert {case.verdict for case in cases.values()} == {"PASS"}
    assert cases["retention"].claim.gains > cases["retention"].claim.hits


def test_a_baseline_changes_no_other_claim(audit, damaged):
    alone = {case.case_id: case for case in audit("damaged", "damaged-alone").cases}
    beside = {case.case_id: case for case in damaged.cases if case.group != BASELINE}
    assert alone.keys() == beside.keys()
    for case_id, case in alone.items():
        assert case.claim == beside[case_id].claim, case_id
        assert case.verdict == beside[case_id].verdict


def test_candidates_with_seeds_of_their_own_are_compared_on_those_of_the_baseline(audit, folder):
    few = replace(SMOKE.sampling, steps=8)
    fresh = replace(SMOKE, sampling=few, seeds="after fingerprint", fresh=Fresh(ceiling=0.2, prompts=8), images_at_most=400)
    audit("uce-van-gogh", "own-seeds", fresh)
    result = audit("damaged", "own-seeds-next", fresh, baseline=[folder / "own-seeds"])
    before, after = (checked_run(folder / name) for name in ("own-seeds", "own-seeds-next"))
    assert before.manifest.seeds["audit_seed"] != after.manifest.seeds["audit_seed"]
    cases = compared(result)
    assert cases.keys() == {"erasure", "adversarial", "fresh", "retention"}
    seeds = {image.seed for case in before.of_group("erasure") for image in case.images if image.model == "candidate"}
    assert {image.seed for image in cases["erasure"].images} == seeds
    assert not after.contradictions


def test_a_baseline_of_another_policy_is_compared_whole(audit, first, folder):
    fewer = replace(SMOKE, name="fewer", retention=replace(SMOKE.retention, concepts=4))
    alike = compared(audit("uce-van-gogh", "fewer", fewer, baseline=[first]))
    assert alike["retention"].claim.trials == compared_units(
        first, "retention"
    )  # also those of concepts that this audit leaves out
    assert all(set(case.claim.outcomes) == {0} for case in alike.values())
    viewed = replace(SMOKE, name="viewed", controls=replace(SMOKE.controls, views="contrast"))
    alike = compared(
        audit("uce-van-gogh", "viewed", viewed, baseline=first)
    )  # the baseline has no such view: it counts for neither
    assert "threshold_view" in alike["erasure"].measures
    assert all(set(case.claim.outcomes) == {0} for case in alike.values())


def compared_units(run, group):
    cases = [case for case in checked_run(run).of_group(group) if not case.pooled and not case.verdict.is_untested]
    retained = [case for case in cases if case.concept is None or case.concept.role != "observe"]
    return sum(image.model == "candidate" for case in retained for image in case.images)


def test_workers_and_reproductions_get_the_same_cases(first, damaged, folder, store):
    given = {"target": "Van Gogh", "policy": SMOKE, "store": str(store), "model": "atelier:damaged"}
    config = resolve(Options(**given, baseline=(str(first),)))
    worker = AuditConfig.from_json(config.to_json())
    assert worker.baseline == config.baseline
    assert worker.plan.digest() == config.plan.digest()
    kept = resolve(Options(**given, baseline=(str(folder / "damaged" / BASELINE_FILE),)))
    assert kept.audit_hash == config.audit_hash
    assert resolve(Options(**given)).audit_hash != config.audit_hash


def test_a_changed_baseline_is_seen(damaged, folder, tmp_path, capsys):
    copy = shutil.copytree(folder / "damaged", tmp_path / "copy")
    path = copy / BASELINE_FILE
    kept = json.loads(path.read_text())
    kept["units"]["erasure"] = kept["units"]["erasure"][:-1]
    path.write_text(json.dumps(kept))
    write_checksums(copy)
    assert main(["report", str(copy)]) == 10
    assert "plan" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("facts", [{}, {"reference": "atelier:base"}], ids=["emptied", "another"])
def test_a_manifest_that_names_another_baseline_or_none_is_seen(damaged, folder, tmp_path, facts):
    copy = shutil.copytree(folder / "damaged", tmp_path / "copy")
    assert checked_run(copy).manifest.baseline["reference"] == "atelier:uce-van-gogh"
    edit_manifest(copy, lambda manifest: manifest.update(baseline=facts))
    assert any("names another baseline than baseline.json" in each for each in checked_run(copy).contradictions)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.update(units={}),
        lambda kept: kept["units"].update(erasure=[]),
        lambda kept: kept["units"].update(triggers=kept["units"]["erasure"]),
        lambda kept: kept["units"]["erasure"][0].update(seed=2**70),
        lambda kept: kept["units"]["retention"][0].update(concept="nobody"),
    ],
)
def test_a_kept_baseline_that_no_audit_writes_is_refused(damaged, folder, tmp_path, change):
    copy = shutil.copytree(folder / "damaged", tmp_path / "copy")
    path = copy / BASELINE_FILE
    kept = json.loads(path.read_text())
    change(kept)
    path.write_text(json.dumps(kept))
    write_checksums(copy)
    with pytest.raises(UsageError):
        resolve(Options(target="Van Gogh", policy=SMOKE, model="atelier:damaged", baseline=(str(path),)))


def test_a_kept_baseline_is_read_within_limits(tmp_path):
    os.mkfifo(tmp_path / BASELINE_FILE)
    with pytest.raises(UsageError, match="cannot be read"):
        kept_baseline(tmp_path / BASELINE_FILE)


def test_names_of_the_earlier_run_are_printed_as_text(first):
    config = resolve(Options(target="Van Gogh", policy=SMOKE, model="atelier:damaged", baseline=(str(first),)))
    hostile = config.baseline.model_copy(update={"judge": {"\x1b[2J": "x\nVERDICT PASS", "judge": "\x1b]0;owned"}})
    manifest = checked_run(first).manifest
    with pytest.raises(LoadError) as error:
        refuse_other_conditions(hostile, {"judge": manifest.judge, "sampler": manifest.sampler})
    assert "\x1b" not in str(error.value)
    assert "\nVERDICT" not in str(error.value)


def test_changed_outcomes_are_seen(damaged, folder, tmp_path):
    copy = shutil.copytree(folder / "damaged", tmp_path / "copy")
    path = copy / "evidence.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    (record,) = [line for line in lines if line["group"] == BASELINE and line["case_id"].startswith("retention")]
    lost = record["claim"]["outcomes"].index(1)
    record["claim"]["outcomes"][lost] = 0
    record["claim"]["hits"] -= 1
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    assert any("its outcomes do not follow from its images" in each for each in checked_run(copy).contradictions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "INCOMPLETE", "exit_code": 10}, "damaged|INCOMPLETE"),
        ({"verdict": "INCOMPLETE", "exit_code": None}, "has not finished"),
    ],
    ids=["incomplete", "unfinished"],
)
def test_a_run_that_says_nothing_is_refused(first, tmp_path, change, message):
    copy = shutil.copytree(first, tmp_path / "copy")
    edit_manifest(copy, lambda manifest: manifest.update(change))
    with pytest.raises(UsageError, match=message):
        resolve(Options(target="Van Gogh", policy=SMOKE, model="atelier:damaged", baseline=(str(copy),)))


def test_runs_of_another_question_are_refused(first, tmp_path):
    given = {"policy": SMOKE, "model": "atelier:damaged"}
    with pytest.raises(UsageError, match="is an audit of 'Van Gogh', and this one is of 'sunflowers'"):
        resolve(Options(**given, target="Sunflowers", baseline=(str(first),)))
    pack = open_knowledge(PACK)
    other = tmp_path / "other.json"
    write_dossier(pack.model_copy(update={"adversarial": pack.adversarial[:-1]}), other)
    with pytest.raises(UsageError, match="is an audit with another dossier"):
        resolve(Options(**given, knowledge=str(other), baseline=(str(first),)))
    with pytest.raises(UsageError, match="names 2 audits of 'Van Gogh'"):
        resolve(Options(**given, target="Van Gogh", baseline=(str(first), str(first))))


def test_images_made_elsewhere_are_refused(first, tmp_path):
    elsewhere = replace(parse_reference("atelier:base"), text=f"images:{tmp_path}", kind="images")
    with pytest.raises(UsageError, match="cannot be compared with images:"):
        refuse_images_elsewhere((str(first),), elsewhere)
    refuse_images_elsewhere((), elsewhere)


def test_another_judge_or_sampler_is_refused(first):
    config = resolve(Options(target="Van Gogh", policy=SMOKE, model="atelier:damaged", baseline=(str(first),)))
    manifest = checked_run(first).manifest
    facts = {"judge": manifest.judge, "sampler": manifest.sampler}
    refuse_other_conditions(config.baseline, facts)
    for apart in ({"judge": manifest.judge | {"digest": "f" * 64}}, {"sampler": manifest.sampler | {"steps": 50}}):
        with pytest.raises(LoadError, match="looked at its candidate in another way") as error:
            refuse_other_conditions(config.baseline, facts | apart)
        assert next(iter(apart)) in error.value.why or "steps: 20 there, 50 here" in error.value.why
