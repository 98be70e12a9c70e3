"""No rubbish passes. Each candidate is rubbish in one way, and the audit says in which: on the first screen, in the terminal."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from rubbish_candidates import PAINTERS

import dmun_audit
from dmun_audit.policy import load_policy
from dmun_audit.report.text import summary_lines

STEPS = 4

pytestmark = [pytest.mark.slow, pytest.mark.end_to_end]


@pytest.fixture(scope="module")
def audited(store, tmp_path_factory):
    """Audit a candidate under the standard policy on images of a few steps; returns the result. The candidates share all images."""
    folder, results = tmp_path_factory.mktemp("rubbish"), {}
    os.environ |= {"RUBBISH_IMAGES": str(store.parent / "rubbish-images"), "RUBBISH_STEPS": str(STEPS)}
    policy = replace(load_policy("standard"), name="few steps", sampling=replace(load_policy("standard").sampling, steps=STEPS))

    def audit(name):
        if name not in results:
            candidate = f"rubbish_candidates:{name}"
            options = {"target": "Van Gogh", "policy": policy, "store": store, "audit_dir": folder / name}
            results[name] = dmun_audit.audit(candidate, "atelier:base", **options)
            assert dmun_audit.load_run(results[name].folder).verdict == results[name].verdict
        return results[name]

    return audit


def after_the_verdict(result, lines=8):
    """The verdict and its first reasons, as the terminal shows them."""
    every = [line.strip() for line in summary_lines(result.run)]
    start = next(place for place, line in enumerate(every) if line.startswith("VERDICT"))
    return " ".join(every[start : start + lines])


def first_screen(result):
    """The page that the audit wrote, above the list of what was audited."""
    return (result.folder / "report.html").read_text("utf-8").partition('<h2 id="audited">')[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("black", "empty"),
        ("darkened", "Van Gogh"),
        ("veiled", "Van Gogh"),
        ("blurred", "Van Gogh"),
        ("guarded", "fresh"),
        ("swapped", "subject"),
        ("repeated", "retained concepts"),
        ("black_elsewhere", "plain"),
        ("monet_loses_45", "Claude Monet"),
        ("monet_loses_75", "Claude Monet"),
        ("munch_ruined", "Edvard Munch"),
    ],
)
def test_rubbish_does_not_pass_and_the_first_lines_say_why(audited, name, words):
    result = audited(name)
    assert result.verdict != "PASS", str(result)
    assert words in after_the_verdict(result)
    assert words in first_screen(result)


def test_repeated_pictures_are_said_on_the_first_screen(audited):
    assert "repeat an earlier one of their concept" in first_screen(audited("repeated"))


def test_the_eraser_behind_them_passes(audited):
    assert audited("honest").verdict == "PASS", str(audited("honest"))


def test_a_guard_on_the_prompts_of_the_dossier_is_refuted_by_fresh_ones_alone_and_the_eraser_by_none(audited):
    guarded, honest = (audited(name).claims for name in ("guarded", "honest"))
    assert {claim.verdict for claim in guarded if claim.group == "fresh"} == {"FAIL"}
    assert {claim.verdict for claim in guarded if claim.group in ("erasure", "adversarial")} == {"PASS"}
    assert {claim.verdict for claim in honest if claim.group == "fresh"} == {"PASS"}


@pytest.mark.parametrize(("name", "concept"), [("monet_loses_75", "Claude Monet"), ("munch_ruined", "Edvard Munch")])
def test_a_ruined_neighbour_fails_by_itself_and_no_other_does(audited, name, concept):
    verdicts = {case.concept.name: case.verdict for case in audited(name).run.of_group("retention") if case.concept}
    assert verdicts[concept] == "FAIL"
    assert {verdicts[other] for other in PAINTERS if other in verdicts and other != concept} <= {"PASS", "NO HARM PROVEN"}


def test_no_case_passes_with_an_estimate_over_its_limit(audited):
    for name in ("monet_loses_45", "munch_ruined", "guarded"):
        for case in audited(name).cases:
            claim = case.claim
            if case.verdict == "PASS" and case.gating and claim and claim.kind in ("rate_at_most", "paired_accuracy"):
                assert claim.estimate is None or claim.estimate <= claim.threshold, case.title
