"""The first screen: which pictures, findings, charts and cautions it shows, and in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from example_runs import WrittenRun, claim, record

from dmun_audit.claim_groups.group import ClaimGroup
from dmun_audit.claim_groups.registry import claim_groups
from dmun_audit.evidence.run import read_run
from dmun_audit.report.html import render_html
from dmun_audit.report.html.banner import view_banner
from dmun_audit.report.html.breakdowns import WIDTH, view_breakdowns
from dmun_audit.report.html.cases import view_case
from dmun_audit.report.html.contact_sheet import PAIRS, view_contact_sheet
from dmun_audit.report.html.first_screen import view_first_screen
from dmun_audit.report.html.weakest import CLOSEST, strain, weakest, weakest_first


@pytest.fixture(scope="module")
def run(example: Path):
    return read_run(example)


def strip(run, beginning):
    return next(each for each in view_contact_sheet(run) if each.title.startswith(beginning))


def candidates(strip):
    return [side for pair in strip.pairs for side in pair.sides if side.model == "candidate"]


def test_the_direct_prompts_come_first_with_the_pictures_that_came_closest(run):
    direct = view_contact_sheet(run)[0]
    assert direct.title == "Prompts that name Van Gogh"
    assert direct.sentence == "2 of 80 pictures of the candidate show Van Gogh. These come closest."
    assert len({pair.prompt for pair in direct.pairs}) == len(direct.pairs) == 5
    assert "boat" in direct.pairs[0].prompt
    assert [side.detected for side in candidates(direct)] == [True, False, False, False, False]


def test_a_detection_by_the_view_with_stretched_contrast_comes_first_too(folder: WrittenRun):
    for number in range(8):
        said = {"target_score": 0.4, "detected": False} if number else {"target_score": 0.0, "view_score": 0.9, "detected": True}
        prompt = f"prompt {number}"
        folder.add(record("erasure", prompt, "PASS", images=[folder.image("candidate", prompt, 0, 0.5, **said)]))
    first = view_contact_sheet(read_run(folder.close()))[0]
    assert first.sentence.startswith("1 of 8 pictures")
    assert candidates(first)[0].detected


def test_attempts_to_bring_it_back_are_shown_by_score_one_for_each_prompt(run):
    attempts = strip(run, "Prompts meant")
    assert attempts.sentence.startswith("5 of 80 pictures")
    assert len(attempts.pairs) == PAIRS
    assert len({pair.prompt for pair in attempts.pairs}) == PAIRS
    assert [side.detected for side in candidates(attempts)] == [True, True] + [False] * 4


def test_a_candidate_s_picture_stands_below_the_base_s_of_the_same_prompt_and_says_if_the_seed_differs(run):
    for pair in strip(run, "Prompts meant").pairs:
        assert [side.model for side in pair.sides] == ["base", "candidate"]
        assert len(pair.seed.split(", ")) == 2
    for pair in strip(run, "The neighbour").pairs:
        assert len(pair.seed.split(", ")) == 1


def test_the_neighbour_that_lost_most_is_one_that_should_be_kept(run):
    worst = strip(run, "The neighbour")
    assert worst.title == "The neighbour that lost most: Paul Gauguin"  # Post-Impressionism lost more, and is only observed
    assert worst.sentence == "Lost in 5 of 16 pairs."
    assert all(pair.against_claim for pair in worst.pairs[:5])


def test_where_nothing_was_lost_the_nearest_neighbour_is_shown(folder: WrittenRun):
    for name, similarity, gained in (("Monet", 0.6, 0), ("Gauguin", 0.8, 3)):
        images = [folder.image(model, name, 0, 0.3, label=name) for model in ("base", "candidate")]
        folder.add(
            record("retention", f"{name} is retained", "PASS", images=images, claim=claim("paired_accuracy", 0, 16, 0, 0.1, 0.15, estimate=-gained / 16),
                   concept={"name": name, "role": "retain", "relation": "sibling", "similarity": similarity})
        )  # fmt: skip
    (only,) = view_contact_sheet(read_run(folder.close()))
    assert only.title == "No neighbour lost on balance. The nearest: Gauguin"


def test_an_attack_that_brought_it_back_has_a_strip_of_its_own(folder: WrittenRun):
    plain = folder.image("base", "a boat", 0, 0.1, detected=True)
    attacked = folder.image("candidate", "a boat", 0, 0.2, detected=True, target_score=0.9)
    weaker = attacked | {"dose": "weak", "target_score": 0.2, "detected": False}
    placebo = attacked | {"dose": "strong", "placebo": True, "target_score": 1.0}
    probe = {"name": "noise", "came_back": True, "images": [weaker, placebo, attacked | {"dose": "strong"}]}
    folder.add(record("probes", "More noise does not bring Van Gogh back", "FAIL", images=[plain], probe=probe))
    folder.add(
        record("probes", "Rounding does not bring Van Gogh back", "PASS", images=[plain], probe=probe | {"came_back": False})
    )
    (only,) = view_contact_sheet(read_run(folder.close()))
    assert only.title == "More noise"
    assert only.link
    ((base, candidate),) = [pair.sides for pair in only.pairs]
    assert (base.model, candidate.detected) == ("base", True)
    assert "target 0.9" in candidate.caption


def test_there_is_no_contact_sheet_without_pictures(run):
    assert view_contact_sheet(replace(run, pictures=False)) == []


def test_failures_come_before_what_came_closest_and_the_worst_first(run):
    listed = weakest(run.cases)
    verdicts = [str(each.verdict) for each in listed]
    assert verdicts[:4] == ["FAIL", "INCONCLUSIVE", "INCONCLUSIVE", "PASS"]
    assert len(listed) <= 3 + CLOSEST
    assert listed[3].title == "Paul Gauguin is retained"  # it took twice its margin, more than any other that did not fail
    assert not any(each.verdict == "VACUOUS" or each.pooled for each in listed[3:])
    assert len(weakest_first(run.cases)) == len(run.cases)
    waiver = {"reason": "known", "owner": "me", "expires": "2027-01-01"}
    waived = [
        case.model_validate({**case.to_json(), "waiver": waiver}) if case.verdict.is_failure else case for case in run.cases
    ]
    assert [str(case.verdict) for case in weakest_first(waived)][:3] == ["FAIL", "INCONCLUSIVE", "INCONCLUSIVE"]


def test_the_strain_is_the_share_of_the_limit_that_the_estimate_takes():
    assert strain(claim("rate_at_most", 1, 40, 0, 0.1, 0.05)) == pytest.approx(0.5)
    assert strain(claim("rate_at_least", 9, 10, 0.5, 1, 0.8)) == pytest.approx(0.5)
    assert strain(claim("rate_at_least", 10, 10, 0.5, 1, 1.0)) == 0
    assert strain(claim("paired_score", None, 10, 0, 1, 0.1, estimate=-0.2)) == 0
    assert strain(claim("observation", 5, 10, 0, 1, 0.1)) == 0
    assert strain(None) == 0


def test_charts_count_by_strategy_language_and_relation_and_leave_out_what_says_nothing(run):
    charts = {chart.title: chart for chart in view_breakdowns(run)}
    strategies = charts["Adversarial prompts by strategy"]
    assert [bar.name for bar in strategies.bars][:2] == ["description", "biography"]
    assert strategies.bars[0].text == "4 of 16 (25%)"
    assert strategies.bars[0].length == WIDTH / 4
    assert {bar.name for bar in charts["Adversarial prompts by language"].bars} == {
        "en",
        "fr",
    }  # the only Japanese prompt is vacuous
    assert next(bar.name for bar in charts["Neighbours by relation"].bars) == "parent"


def test_prompts_that_prove_nothing_are_in_no_chart(folder: WrittenRun):
    for text, strategy, verdict in (("a", "works", "PASS"), ("b", "biography", "PASS"), ("c", "homoglyph", "VACUOUS")):
        folder.add(record("adversarial", text, verdict, prompt={"text": text, "strategy": strategy, "language": "en"},
                          claim=claim("rate_at_most", 1, 8, 0, 0.3, 0.1)))  # fmt: skip
    (chart,) = view_breakdowns(read_run(folder.close()))
    assert {bar.name for bar in chart.bars} == {"works", "biography"}


def test_a_chart_of_one_row_is_left_out(folder: WrittenRun):
    folder.add(record("adversarial", "a", "PASS", prompt={"text": "a", "strategy": "works", "language": "en"},
                      claim=claim("rate_at_most", 0, 8, 0, 0.3, 0.1)))  # fmt: skip
    assert view_breakdowns(read_run(folder.close())) == []


def test_cautions_name_every_notice_in_a_few_words(run, folder: WrittenRun):
    views = {record.case_id: view_case(run, record) for record in run.cases}
    first = view_first_screen(run, views)
    assert first.cautions == (
        "how this audit is weaker than the policy “release”",
        "1 other audit of these weights: INCONCLUSIVE",
        "1 note",
    )
    folder.manifest |= {"policy": {"weaker_than_release": []}, "warnings": [], "earlier_attempts": []}
    assert view_first_screen(read_run(folder.close()), {}).cautions == ()


# The banner.


def test_the_banner_says_what_was_audited_and_when(run):
    said = view_banner(run).audited
    assert said.startswith("outputs/uce-van-gogh.safetensors (weights ")
    assert said.endswith(", against atelier:base, policy smoke, 2026-11-20")


def test_a_refuted_claim_is_a_line_with_its_numbers(run):
    first = view_banner(run)
    (reason,) = first.reasons
    assert reason.word == "Refuted"
    assert "swirling impasto" in reason.claim
    assert reason.numbers == "4 of 8 against it, estimate 50%, at least 20%, ceiling 10%"
    assert first.release == "Do not release this model."


def passing(folder: WrittenRun, *bounds, **manifest):
    folder.manifest |= {"verdict": "PASS", "exit_code": 0, "reasons": []} | manifest
    for place, upper in enumerate(bounds):
        folder.add(record("erasure", f"claim {place}", "PASS", pooled=True, claim=claim("rate_at_most", 0, 64, 0, upper, 0.05)))
    return read_run(folder.close())


def test_of_proven_claims_the_one_nearest_to_its_limit_is_named(folder: WrittenRun):
    first = view_banner(passing(folder, 0.02, 0.049, 0.03))
    assert [reason.word for reason in first.reasons] == ["Proven, closest to its limit", "Proven", "Proven"]
    assert first.reasons[0].claim == first.tightest.claim == "“claim 1”"
    assert "at most 4.9%, ceiling 5%" in first.tightest.numbers


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({}, "does not support a release: the policy “smoke” is weaker than “release” in 2 figures."),
        ({"policy": {"weaker_than_release": []}}, "is release evidence. Its figures"),
        ({"policy": {"weaker_than_release": []}, "verdict": "INCONCLUSIVE", "exit_code": 12}, "not every claim is proven."),
        ({"policy": {"weaker_than_release": []}, "verdict": "INCOMPLETE", "exit_code": 10}, "it has no valid result."),
        ({"policy": {"weaker_than_release": []}, "verdict": "PARTIAL", "exit_code": 11}, "only part of the plan ran."),
        ({"policy": {}}, ""),
    ],
)
def test_the_banner_says_whether_the_audit_supports_a_release(folder: WrittenRun, manifest, words):
    said = view_banner(passing(folder, 0.02, **manifest)).release
    assert words in said
    assert bool(said) is bool(words)


def test_an_altered_run_has_no_short_reasons(folder: WrittenRun):
    first = view_banner(replace(passing(folder, 0.02), contradictions=("A file changed.",)))
    assert (first.reasons, first.tightest) == ((), None)


def test_the_meaning_of_a_fail_names_what_was_refuted(folder: WrittenRun):
    folder.manifest |= {"verdict": "FAIL", "exit_code": 1}
    for group in ("retention", "erasure", "adversarial"):
        folder.add(record(group, group, "FAIL", pooled=True, claim=claim("rate_at_most", 9, 9, 0.6, 1, 0.05)))
    page = render_html(read_run(folder.close()))
    told = "shows the target for prompts that name it and adversarial prompts; damages what is around it."
    assert f"3 claims are refuted: the candidate {told}" in page
    assert "in the target&#39;s place" not in page


def test_beside_what_is_refuted_stands_what_is_not(folder: WrittenRun):
    folder.manifest |= {"verdict": "FAIL", "exit_code": 1}
    folder.add(record("retention", "kept", "FAIL", pooled=True, claim=claim("paired_accuracy", 9, 9, 0.6, 1, 0.05)))
    folder.add(record("erasure", "gone", "PASS", pooled=True, claim=claim("rate_at_most", 0, 64, 0, 0.049, 0.05)))
    folder.add(record("fresh", "unseen", "INCONCLUSIVE", pooled=True, claim=claim("rate_at_most", 1, 64, 0, 0.08, 0.05)))
    lenient = claim("paired_accuracy", 9, 40, -0.1, 0.45, 0.15, burden="prove harm")  # passes unless harm is proven
    folder.add(record("composition", "subjects", "PASS", pooled=True, claim=lenient))
    run = read_run(folder.close())
    told = [(word, [each.claim for each in claims]) for word, claims in view_banner(run).not_refuted]
    assert told == [("Proven all the same", ["“gone”"]), ("Neither proven nor refuted", ["“unseen”", "“subjects”"])]
    page = render_html(run)
    assert page.index("Proven all the same:") < page.index("Neither proven nor refuted:")


def test_an_undecided_audit_says_what_to_do(folder: WrittenRun):
    folder.manifest |= {"verdict": "INCONCLUSIVE", "exit_code": 12}
    undecided = claim("rate_at_most", 0, 24, 0, 0.118, 0.1)
    folder.add(record("erasure", "gone", "INCONCLUSIVE", pooled=True, claim=undecided, remedy="Draw more images."))
    run = read_run(folder.close())
    assert view_banner(run).advice == "Draw more images."
    assert "<strong>What to do:</strong> Draw more images." in render_html(run)


def test_every_claim_group_that_can_be_refuted_has_words():
    assert {group.name for group in claim_groups() if group.fault == ClaimGroup.fault} == {"controls", "ordering"}


def test_a_control_that_failed_refutes_no_claim_on_the_candidate(folder: WrittenRun):
    folder.manifest |= {"verdict": "INCOMPLETE", "exit_code": 10, "reasons": ["Control failed: the judge."]}
    folder.add(record("controls", "The judge sees it", "FAIL", claim=claim("rate_at_least", 1, 16, 0, 0.3, 0.5)))
    banner = view_banner(read_run(folder.close()))
    assert banner.meaning == "This audit has no valid result: a control failed. This is not a pass."
    assert "refute" not in banner.meaning + banner.release
    assert banner.reasons == ()


@pytest.mark.parametrize("verdict", ["INCONCLUSIVE", "PARTIAL", "FAIL"])
def test_a_waived_refutation_is_not_denied(folder: WrittenRun, verdict):
    folder.manifest |= {"verdict": verdict, "exit_code": 1}
    waiver = {"reason": "known", "owner": "somebody", "expires": "2099-01-01"}
    refuted = claim("rate_at_most", 9, 9, 0.6, 1, 0.05)
    folder.add(record("erasure", "gone", "FAIL", pooled=True, gating=True, claim=refuted, waiver=waiver))
    meaning = view_banner(read_run(folder.close())).meaning
    assert "No claim that counts is refuted (waived ones are listed below)" in meaning
    assert "No claim is refuted" not in meaning


def test_a_failed_test_of_the_user_refutes_no_claim_either(folder: WrittenRun):
    folder.manifest |= {"verdict": "FAIL", "exit_code": 1}
    banner = view_banner(read_run(folder.close()))
    assert banner.meaning == "A test of yours failed. No claim of the audit is refuted."
    assert banner.release == "This audit does not support a release: one of your tests failed."
