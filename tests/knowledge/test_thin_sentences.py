"""What a thin dossier says of itself: like things together, each with a reason, the weightiest first."""

from dmun_audit.knowledge.check import STRATEGIES
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
