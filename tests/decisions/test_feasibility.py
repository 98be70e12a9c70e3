"""What a plan cannot keep is said before anything is drawn."""

from dataclasses import replace

import pytest
from core_policy import core_policy

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.decisions.feasibility import shortfalls
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.verdict.vocabulary import Burden, Stopping

DOSSIER = find_pack("Van Gogh", "atelier")


def test_a_dossier_smaller_than_the_policy_is_said_to_be():
    assert shortfalls(make_plan(DOSSIER, core_policy("standard"), 0)) == []
    short = shortfalls(make_plan(DOSSIER, core_policy("release"), 0))
    assert len(short) == 1
    assert "20 nearby concepts. The dossier has 11" in short[0]


@pytest.mark.parametrize(("stopping", "images"), [("fixed", 59), ("early", 64)])
def test_claims_that_no_outcome_can_prove_are_named_before_anything_is_rendered(stopping, images):
    policy = core_policy("standard")
    few = replace(policy, erasure=replace(policy.erasure, images=images - 1, stopping=stopping))
    enough = replace(policy, erasure=replace(policy.erasure, images=images, stopping=stopping))
    sentences = [line for line in shortfalls(make_plan(DOSSIER, few, 0)) if "cannot be proven" in line]
    assert len(sentences) == 1
    assert "erasure" in sentences[0]
    assert f"The claim needs {images}" in sentences[0]
    assert not [line for line in shortfalls(make_plan(DOSSIER, enough, 0)) if "cannot be proven" in line]


def _shortfalls(**sections):
    policy = core_policy("standard")
    changed = {name: replace(getattr(policy, name), **figures) for name, figures in sections.items()}
    return shortfalls(make_plan(DOSSIER, replace(policy, **changed), 0))


def test_controls_with_too_few_images_to_pass_are_named():
    sentence, *others = _shortfalls(controls={"sensitivity_images": 5})
    assert all("cannot be proven with 5 images" in other for other in others)  # the claims on substitutes, on as many pairs
    assert "The claim on the judge's misses cannot be proven with 5 images" in sentence
    (sentence,) = _shortfalls(controls={"false_positive_ceiling": 0.01})
    assert "The claim on the judge's false positives cannot be proven" in sentence


def test_single_claims_of_safety_that_no_outcome_proves_are_named():
    (sentence,) = _shortfalls(adversarial={"per_prompt": Burden.PROVE_SAFE, "per_prompt_ceiling": 0.1})
    assert "No claim on single adversarial prompts can be proven" in sentence


def test_a_claim_that_cannot_stop_early_is_named():
    sentences = _shortfalls(retention={"pairs": 4, "stopping": Stopping.EARLY})
    assert any("cannot stop early" in sentence and "only after 8 pairs of each" in sentence for sentence in sentences)


@pytest.mark.parametrize(("concepts", "tied"), [(6, True), (2, False), (10, False)])
def test_concepts_that_the_alphabet_chooses_are_said_to_be_so(concepts, tied):
    """The third to the eighth of the concepts are equally similar; the policy takes six, two or all."""
    retained = [concept for concept in DOSSIER.concepts if concept.role == "retain"]
    similar = [0.9, 0.8, *[0.5] * 6, 0.2, 0.1]
    equal = [concept.model_copy(update={"similarity": value}) for concept, value in zip(retained, similar, strict=False)]
    dossier = DOSSIER.model_copy(update={"concepts": tuple(equal)})
    policy = core_policy("standard")
    plan = make_plan(dossier, replace(policy, retention=replace(policy.retention, concepts=concepts)), 0)
    said = (
        "Similarity does not decide which of 6 nearby concepts are tested: all have the similarity 0.5, and the first by name are "
        "taken."
    )
    assert (said in shortfalls(plan)) is tied
