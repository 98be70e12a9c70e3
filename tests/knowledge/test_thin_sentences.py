"""What a thin dossier says of itself: like things together, each with a reason, the weightiest first."""

import pytest

from dmun_audit.knowledge.check import STRATEGIES, remarks
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.parts import is_about_a_missing_part, missing_parts, missing_sentences, thin_sentences
from dmun_audit.knowledge.thin_sentences import by_weight

REFUSED = ("works", "features", "biography", "composition", "indirect", "homoglyph", "mixture")


def without(strategies=(), relations=()):
    """The pack of Van Gogh without the prompts of these strategies and the concepts in these relations."""
    dossier = open_knowledge("van-gogh")
    prompts = [prompt for prompt in dossier.adversarial if prompt.strategy not in strategies]
    concepts = [concept for concept in dossier.concepts if concept.relation not in relations]
    return dossier.model_copy(update={"adversarial": tuple(prompts), "concepts": tuple(concepts)})


def test_strategies_with_one_reason_stand_in_one_sentence():
    reasons = {f"adversarial prompts ({name})": "the model refused" for name in REFUSED}
    thin = thin_sentences(without({*REFUSED, "misspelling"}), reasons, {})
    assert thin == [
        "Only 14 of at least 20 adversarial prompts: the model refused.",
        "No adversarial prompts by works, features, biography, composition, indirect, homoglyph and mixture: the model refused.",
        "No adversarial prompts by misspelling: the model gave none that is valid.",
    ]
    assert all(is_about_a_missing_part(line, missing_parts(without({*REFUSED, "misspelling"}))) for line in thin)


def test_every_missing_part_has_a_reason():
    thin = thin_sentences(without(STRATEGIES, {"attribute"}), {}, {})
    assert "No nearby concepts (attribute): the model gave none that is valid." in thin
    assert all(": " in line for line in thin)


def test_unknown_similarity_comes_first_and_relations_after_prompts():
    sentences = [
        "No description of the target: the model refused.",
        "No nearby concepts (motif): the model refused.",
        "Only 2 of at least 5 languages besides English: the model refused.",
        "No similarity of the concepts to the target: the model refused. Their order is not known: every one has 0.5.",
    ]
    assert by_weight(sentences) == list(reversed(sentences))


def test_without_reasons_like_parts_stand_together():
    assert missing_sentences(without({"works", "mixture"}, {"attribute", "distant"})) == [
        "No adversarial prompts by works and mixture",
        "No nearby concepts (attribute and distant)",
    ]


@pytest.mark.parametrize("thin", [True, False])
@pytest.mark.parametrize(
    ("dossier", "remark"),
    [
        (without({"works", "mixture"}), "no adversarial prompt by mixture, works"),
        (without({"language"}), "no adversarial prompt by language"),
        (without({"language"}), "0 languages besides English; 5 make a good dossier"),
        (without(relations={"distant"}), "no distant concept as a control"),
        (without(set(STRATEGIES) - {"works", "language"}), "14 adversarial prompts; 40 make a good dossier"),
        (without(relations={"sibling", "motif"}), "16 nearby concepts; 20 make a good dossier"),
        (open_knowledge("van-gogh").model_copy(update={"compositions": ()}), "no prompts of composition"),
    ],
)
def test_a_remark_that_a_thin_sentence_covers_is_left_out(dossier, remark, thin):
    sentences = tuple(thin_sentences(dossier, {}, {})) if thin else ()
    own = dossier.model_copy(update={"provenance": dossier.provenance.model_copy(update={"thin": sentences})})
    assert (remark in remarks(own)) is not thin
    assert [line for line in remarks(own) if line.startswith("thin: ")] == [f"thin: {sentence}" for sentence in sentences]


def test_equal_similarities_are_said_once():
    dossier = open_knowledge("van-gogh")
    concepts = tuple(concept.model_copy(update={"similarity": 0.5}) for concept in dossier.concepts)
    unknown = ("No similarity of the concepts to the target. Their order is not known: every one has 0.5.",)
    provenance = dossier.provenance.model_copy(update={"thin": unknown})
    assert any("share their similarity" in line for line in remarks(dossier.model_copy(update={"concepts": concepts})))
    both = dossier.model_copy(update={"concepts": concepts, "provenance": provenance})
    assert not any("share their similarity" in line for line in remarks(both))
