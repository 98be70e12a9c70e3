"""Interviews in which a part of the dossier cannot be had."""

import json

from interview_faults import Fault, changed_items, changed_text, refused_for_good, together

MISSPELLING, LANGUAGE, RATING, RANKING = (
    "misspelt name",
    "other languages than English",
    "Rate every one",
    "in order of their similarity",
)
COMPOSITION, DIRECT, RELATION = "a third of each skill", "plainly by its name", "relation to the target"


def nothing(phrase):
    """The model has nothing to say to questions with this phrase."""
    return changed_items(phrase, lambda items: [], first_only=False)


def first_rating_fails(chat):
    """One of the ratings never names half of the concepts; the others are complete."""
    oracle, failing = chat.answer, []

    def answer(body):
        text = oracle(body)
        question = body["messages"][1]["content"]
        if RATING not in question:
            return text
        failing.append(question) if not failing else None
        return json.dumps({"items": json.loads(text)["items"][:9]}) if failing[0] in question else text

    chat.answer = answer


def says(*sentences, strategies=None):
    """Asserts that a thin dossier says exactly this of what it lacks, by the beginnings of its sentences."""

    def check(dossier):
        thin = dossier.provenance.thin
        assert len(thin) == len(sentences), thin
        for sentence in sentences:
            assert any(line.startswith(sentence) for line in thin), (sentence, thin)
        if strategies is not None:
            assert strategies.isdisjoint(prompt.strategy for prompt in dossier.adversarial)

    return check


def says_nothing(dossier):
    """Asserts that a dossier is not thin."""
    assert dossier.provenance.thin == ()


def few_concepts(dossier):
    assert 3 <= len(dossier.concepts) < 10
    (line,) = [line for line in dossier.provenance.thin if "of at least 20 nearby concepts" in line]
    assert line.startswith(f"Only {len(dossier.concepts)} ")


def own_direct_prompts(dossier):
    assert dossier.target.direct_prompts[0] == "a painting by Van Gogh"
    assert len(dossier.target.direct_prompts) == 8
    (line,) = dossier.provenance.thin
    assert line == (
        "No direct prompts came from the language model: the model refused. 8 were made from the target's name by fixed templates."
    )


def unordered(dossier):
    (line,) = dossier.provenance.thin
    assert line.startswith("No similarity of the concepts to the target: ")
    assert line.endswith("Their order is not known: every one has 0.5.")
    assert {(concept.similarity, concept.spread) for concept in dossier.concepts} == {(0.5, None)}
    assert dossier.orderings == ()


def ordered_all_the_same(dossier):
    assert len(dossier.provenance.thin) == 1
    assert dossier.provenance.thin[0].startswith("Similarity (rated, 1 of 2): ")
    assert len({concept.similarity for concept in dossier.concepts}) > 20


def everything_missing_is_said(dossier):
    thin = dossier.provenance.thin
    assert "No adversarial prompts by misspelling: the model refused." in thin
    assert "No adversarial prompts in other languages than English: the model refused." in thin
    assert any(line.startswith("Similarity (rated, 1 of 2): ") for line in thin)
    assert len(thin) == 3
    assert len(dossier.concepts) >= 20


def nothing_adversarial(dossier):
    assert dossier.adversarial == ()
    assert dossier.provenance.thin == (
        "No adversarial prompts: the model refused.",
        "No adversarial prompts by description, works, features, biography, misspelling, composition, indirect, homoglyph and mixture: "
        "the model refused.",
        "No adversarial prompts in other languages than English: the model refused.",
    )


def the_weightiest_first(dossier):
    thin = dossier.provenance.thin
    assert thin[0].startswith("No similarity of the concepts to the target: ")
    assert thin[0].endswith("every one has 0.5.")
    assert thin[1:] == (
        "No adversarial prompts by misspelling: the model refused.",
        "No adversarial prompts in other languages than English: the model refused.",
        "No nearby concepts (attribute): the model refused.",
        "No prompts of composition: the model refused.",
    )


FAULTS = [
    Fault("a prompt given twice", changed_items("by its name", lambda items: [*items, items[0]]), says_nothing),
    Fault(
        "one refused strategy",
        refused_for_good(MISSPELLING),
        says("No adversarial prompts by misspelling: the model refused.", strategies={"misspelling"}),
    ),
    Fault(
        "one refused language question",
        refused_for_good(LANGUAGE),
        says("No adversarial prompts in other languages than English: the model refused.", strategies={"language"}),
    ),
    Fault("one bad rating", first_rating_fails, ordered_all_the_same),
    Fault(
        "a refused strategy, a refused language question and a bad rating",
        together(first_rating_fails, refused_for_good(MISSPELLING, LANGUAGE)),
        everything_missing_is_said,
    ),
    Fault("no similarity at all", refused_for_good(RATING, RANKING), unordered),
    Fault(
        "no ratings, only rankings",
        refused_for_good(RATING),
        says("Similarity (rated, 1 of 2): ", "Similarity (rated, 2 of 2): "),
    ),
    Fault(
        "no similarity, and parts of every weight missing",
        refused_for_good(RATING, RANKING, MISSPELLING, LANGUAGE, COMPOSITION, f"{RELATION}: attribute"),
        the_weightiest_first,
    ),
    Fault("no compositions", nothing(COMPOSITION), says("No prompts of composition: ")),
    Fault(
        "no neighbours of two relations",
        refused_for_good(f"{RELATION}: attribute", f"{RELATION}: distant"),
        says("No nearby concepts (attribute and distant): the model refused."),
    ),
    Fault("fewer than twenty concepts", changed_items(RELATION, lambda items: items[:1], first_only=False), few_concepts),
    Fault(
        "fewer than five languages",
        changed_items(LANGUAGE, lambda items: [item for item in items if item["language"] in {"fr", "de"}], first_only=False),
        says("Only 2 of at least 5 languages besides English: "),
    ),
    Fault("no direct prompts", refused_for_good(DIRECT), own_direct_prompts),
    Fault(
        "every adversarial prompt refused",
        refused_for_good("every way in which the target could still be reached"),
        nothing_adversarial,
    ),
    Fault("no description", refused_for_good("Say what it is."), error="refused to say anything about what the target is"),
    Fault("no neighbour at all", refused_for_good(RELATION), error="hold no concept to retain"),
    Fault(
        "nothing to retain",
        changed_text("", lambda text: text.replace('"role": "retain"', '"role": "observe"'), first_only=False),
        error="hold no concept to retain",
    ),
]
