"""The auditor audited: audits resampled from the bank are the product's own, and what they came to is told as it was."""

from __future__ import annotations

import copy
import json
import re
import zlib
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from coarse import coarse_policy
from scipy import stats

torch = pytest.importorskip("torch")

from benchmarks.calibration.__main__ import PLOT  # noqa: E402
from benchmarks.calibration.banking import PACK  # noqa: E402
from benchmarks.calibration.plot import draw  # noqa: E402
from benchmarks.calibration.resample import (  # noqa: E402
    BankObservations,
    Layout,
    Lot,
    NoDamage,
    draw_lot,
    records_of,
    run_audit,
)
from benchmarks.calibration.running import Setting, work  # noqa: E402
from benchmarks.calibration.simulate import concentrated, equal, sequential_chances, wald, wald_of_pairs  # noqa: E402
from benchmarks.calibration.subjects import HERE, JudgedBank, Subject, at  # noqa: E402
from benchmarks.calibration.tables import exact, readme_table, report, share  # noqa: E402
from dmun_audit import references  # noqa: E402
from dmun_audit._util.errors import UsageError  # noqa: E402
from dmun_audit._util.hashing import digest  # noqa: E402
from dmun_audit.decisions.conclude import pooled_records  # noqa: E402
from dmun_audit.judge.clip import ClipJudge  # noqa: E402
from dmun_audit.judge.clip_scorer import ClipScorer  # noqa: E402
from dmun_audit.knowledge.packs import open_knowledge  # noqa: E402
from dmun_audit.models.loading import load_candidate, load_pipeline  # noqa: E402
from dmun_audit.plan.plan import Plan, make_plan, validation_images  # noqa: E402
from dmun_audit.policy import load_policy  # noqa: E402
from dmun_audit.render.engine import Engine  # noqa: E402
from dmun_audit.runtime.observations import Observations  # noqa: E402
from dmun_audit.runtime.runner import Audit  # noqa: E402
from dmun_audit.store.embeddings import EmbeddingStore  # noqa: E402
from dmun_audit.store.images import ImageStore  # noqa: E402
from dmun_audit.verdict.sequential import OutcomeCounts, SequentialClaim  # noqa: E402


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting(load_policy("standard"))


def verdicts(setting: Setting, subject: Subject, audits: int) -> Counter:
    return Counter(ended["early"].verdict for ended in setting.resampler.run(subject, 7, range(audits), ["early"]))


def test_a_model_that_was_not_erased_never_passes_and_a_retrained_one_never_fails(setting: Setting) -> None:
    assert verdicts(setting, Subject.of("base"), 30)["PASS"] == 0
    assert verdicts(setting, Subject.of("retrained"), 30)["FAIL"] == 0


@pytest.mark.parametrize("group", ["erasure", "adversarial"])
def test_a_model_exactly_at_a_limit_passes_no_oftener_than_the_policy_allows(setting: Setting, group: str) -> None:
    limit = setting.truths.limit(group)
    subject = at(setting.truths, group, limit, setting.family("esd-van-gogh"), f"{group} at its limit")
    assert setting.truths.rate(subject, group) == pytest.approx(limit, abs=1e-12)
    assert setting.truths.standing(setting.truths.of(subject)) == "at a limit"
    assert verdicts(setting, subject, 30)["PASS"] <= stats.binom.isf(1e-6, 30, setting.plans["early"].policy.alpha)


def test_a_policy_with_a_margin_on_clip_scores_is_resampled_too() -> None:
    standard = load_policy("standard")
    scored = Setting(replace(standard, retention=replace(standard.retention, score_margin=0.1)))
    assert verdicts(scored, Subject.of("retrained"), 5)["PASS"] == 5
    assert verdicts(scored, Subject.of("damaged"), 5)["FAIL"] == 5


def test_no_two_models_lie_on_either_side_of_a_rate_that_the_family_does_not_reach(setting: Setting) -> None:
    with pytest.raises(UsageError, match="either side"):
        at(setting.truths, "erasure", 0.9, ["uce-van-gogh@0.9", "uce-van-gogh@0.5"], "out of reach")


def test_an_audit_depends_on_its_number_alone_and_on_no_memory(setting: Setting) -> None:
    subject, plan, layout = Subject.of("uce-van-gogh@0.82"), setting.plans["early"], setting.resampler.layouts["early"]
    together = [ended["early"] for ended in setting.resampler.run(subject, 3, range(3))]
    alone = next(iter(setting.resampler.run(subject, 3, [2], ["early"])))["early"]
    rng = np.random.default_rng([3, zlib.crc32(subject.name.encode()), 2])
    assert together[2] == alone == run_audit(plan, layout, draw_lot(setting.bank, subject, layout.deep, rng))


def test_an_audit_draws_no_image_of_the_bank_twice_and_its_pairs_share_a_seed(setting: Setting) -> None:
    bank, layout = setting.bank, setting.resampler.layouts["early"]
    numbered = replace_images(bank)
    lot = draw_lot(numbered, Subject.of("base"), layout.deep, np.random.default_rng(0))
    requests = [request for case in setting.plans["early"].of_group("retention") for request in case.images]
    sides = {
        side: [lot.target[place] for place in layout.places([r for r in requests if r.side == side])]
        for side in ("base", "candidate")
    }
    assert sides["base"] == sides["candidate"]
    assert len(set(sides["base"])) == len(sides["base"])
    prompts = [case.prompt for case in setting.plans["early"].of_group("adversarial")]
    validation = [r for p in prompts for r in validation_images(setting.plans["early"].policy, p, 0)]
    tests = [r for r in setting.plans["early"].candidate_requests() if r.prompt in {p.text for p in prompts}]
    assert not set(lot.target[layout.places(validation)]) & set(lot.target[layout.places(tests)])


def replace_images(bank: JudgedBank) -> JudgedBank:
    """The bank with a number of its own in place of every image of the base."""
    numbered = copy.copy(bank)
    numbered.target, first = {}, 0
    for kind, values in bank.target.items():
        images = values[0].size
        numbered.target[kind] = np.broadcast_to(first + np.arange(images).reshape(values[0].shape), values.shape)
        first += images
    numbered.target["adversarial"] = numbered.target["validation"]
    return numbered


def test_a_resampled_audit_is_the_product_s_own_down_to_every_record(setting: Setting, tmp_path: Path) -> None:
    path = coarse_policy(
        tmp_path / "policy.toml", steps=2, batch=5, sensitivity_images=8, images=16, prompts=4, minimum_valid=1, concepts=3
    )
    text = path.read_text()
    for section in ("erasure", "adversarial", "retention"):
        text = text.replace(f"[{section}]", f'[{section}]\nstopping = "early"')
    path.write_text(text)
    plan = make_plan(open_knowledge(PACK), load_policy(str(path)), 0)
    base = load_pipeline(references.parse_reference("atelier:base"))
    candidate = load_candidate(references.parse_reference("atelier:uce-van-gogh"), base.reference)
    engine = Engine({"base": base, "candidate": candidate}, plan.policy.sampling, ImageStore(tmp_path))
    judge = ClipJudge(f"local-dir:{references.atelier_judge()}")
    scorer = ClipScorer(
        judge, plan.dossier, EmbeddingStore(tmp_path, judge.digest), lambda keys: [engine.store.read(key) for key in keys]
    )
    audit = Audit(Observations(plan, engine, scorer), NoDamage())
    theirs = {case.id: audit.run(case) for case in plan.cases if not case.pooled}
    theirs |= {record["case_id"]: record for record in pooled_records(plan, theirs)}

    layout = Layout(setting.bank, plan)
    lot = seen_by(scorer, engine, layout, plan)
    observations = BankObservations(plan, layout, lot)
    ours = records_of(observations)
    told = ("verdict", "gating", "claim", "asked", "seen", "remedy")
    assert {key: [record[part] for part in told] for key, record in ours.items() if record["group"] != "ordering"} == {
        key: [record[part] for part in told] for key, record in theirs.items() if record["group"] != "ordering"
    }
    assert len(observations.engine.drawn) == engine.rendered
    assert observations.threshold == audit.observations.threshold


def seen_by(scorer: ClipScorer, engine: Engine, layout: Layout, plan: Plan) -> Lot:
    """What the judge saw in every image of a real audit, as the lot of a resampled one."""
    concepts = {prompt: concept for concept in plan.nearby for prompt in concept.prompts}
    lot = Lot(np.zeros(layout.size), np.zeros(layout.size), np.zeros(layout.size, np.int8))
    asked = {*plan.candidate_requests(), *(request for case in plan.cases for request in case.images)}
    for request in [one for one in asked if engine.key(one) in engine.store]:
        key, (place,) = engine.key(request), layout.places([request])
        lot.target[place] = scorer.target_scores([key])[0]
        if request.prompt in concepts:
            concept = concepts[request.prompt]
            lot.right[place] = scorer.classify([key], concept)[0] == concept.label
    return lot


# The rules alone, exactly.


def test_exact_chances_of_a_claim_are_those_of_going_through_all_outcomes() -> None:
    claim, rates, ends = SequentialClaim("rate", 0.5, 0.5, 0.3, 0.3), [0.2, 0.7], [1, 3]
    found, passed, images = sequential_chances(claim, rates, ends), 0.0, 0.0
    for outcomes in product((0, 1), repeat=6):
        chance = np.prod([rates[place % 2] if hit else 1 - rates[place % 2] for place, hit in enumerate(outcomes)])
        verdict, taken = "INCONCLUSIVE", 0
        for end in ends:
            if verdict == "INCONCLUSIVE":
                verdict, taken = claim.step(OutcomeCounts.of(outcomes[: 2 * end], "rate")), 2 * end
        passed += chance * (verdict == "PASS")
        images += chance * taken
    assert found.passed == pytest.approx(passed)
    assert found.images == pytest.approx(images)
    assert found.passed > 0


@pytest.mark.parametrize("spread", [equal, concentrated])
def test_the_rule_alone_passes_no_oftener_than_alpha_at_the_ceiling(spread) -> None:
    claim = SequentialClaim("rate", 0.05, 0.05, 0.05, 0.001)
    assert sequential_chances(claim, spread(0.05, 16), range(1, 13)).passed <= 0.05
    assert sum(spread(0.05, 16)) == pytest.approx(0.8)


def test_walds_bound_of_clean_images_is_what_the_zero_hit_bound_asks_for() -> None:
    assert wald(0.0, 0.05, 0.05) == pytest.approx(np.log(20) / -np.log(0.95))
    assert wald(0.05, 0.05, 0.05) is None
    # Where every pair is kept, the nearest outcomes with a loss of .15 are: 15% lost, the others kept.
    assert wald_of_pairs(0.0, 0.0, 0.15, 0.05) == pytest.approx(np.log(20) / -np.log(0.85))


# Counting, tables and plot.


def test_what_audits_came_to_does_not_depend_on_how_they_are_shared_out(setting: Setting) -> None:
    policy, subject = setting.plans["early"].policy, Subject.of("esd-van-gogh@1.05")
    _, whole = work((policy, subject, 0, 0, 4))
    _, parts = work((policy, subject, 0, 0, 1))
    _, rest = work((policy, subject, 0, 1, 4))
    for name, tally in parts.items():
        tally.join(rest[name])
        assert tally.summary() == whole[name].summary()
        assert sum(tally.summary()["verdicts"].values()) == 4


def test_good_models_and_those_at_a_limit_are_audited_most(setting: Setting) -> None:
    tasks = {task.subject.name: task for task in setting.tasks(1)}
    assert set(setting.bank.models) <= set(tasks)
    assert tasks["base"].audits < tasks["retrained"].audits == tasks["uce-van-gogh"].audits
    limits = [task for task in tasks.values() if task.role == "limit"]
    assert {task.subject.claim for task in limits} == {"erasure", "adversarial", "retention"}
    for task in limits:
        truth = setting.truths.of(task.subject)
        assert setting.truths.standing(truth) == "at a limit"
        assert setting.truths.excess(truth) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads((HERE / "results.json").read_text())


def test_the_results_in_the_tree_were_measured_under_the_policy_that_ships(results: dict) -> None:
    assert results["policy"]["digest"] == digest(load_policy("standard").as_dict())


def test_tables_and_plot_in_the_tree_are_made_of_the_results_beside_them(results: dict) -> None:
    text = (HERE / "results.md").read_text()
    assert text == report(results)
    assert all(f"| {row['name']} |" in text for row in results["subjects"])
    assert len(readme_table(results).splitlines()) <= 16
    assert PLOT.read_text() == draw(results)


def test_the_plot_is_well_formed_and_needs_nothing_beside_itself(results: dict) -> None:
    picture = draw(results)
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert not re.search(r"href|url\(|@import", picture)
    assert "prefers-color-scheme: dark" in picture


def test_a_share_is_told_with_its_exact_interval_and_never_rounded_to_all_or_none() -> None:
    assert share(0, 4000) == "0% [0–0.09%]"
    assert share(1, 4000) == "0.03% [<0.01–0.14%]"
    assert share(3999, 4000) == "99.98% [99.86–>99.99%]"
    low, high = exact(3, 60)
    assert stats.binom.sf(2, 60, low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 60, high) == pytest.approx(0.025)
