"""Faults in what a language model says of a target: aliases, concepts, prompts, languages."""

import json

from interview_faults import Fault, asked, changed_items

from dmun_audit.knowledge.content_check import content_problems, content_remarks
from dmun_audit.knowledge.words.texts import fold

DESCRIBED, CONFIRMED, DIRECT = "Say what it is.", "another name for exactly the same thing", "plainly by its name"
SIBLINGS, RELATED = "relation to the target: sibling", "relation to the target"
LANGUAGES, NAMELESS = "other languages than English", "describe what its pictures look like"
DECOYS = ("Rembrandt", "Andy Warhol", "Katsushika Hokusai", "Johannes Vermeer", "Frida Kahlo", "Piet Mondrian", "painter")


def several(*causes):
    """A cause: all of `causes`."""

    def cause(chat):
        for each in causes:
            each(chat)

    return cause


def described(**facts):
    """A cause: the target is described with other facts, every time."""
    return changed_items(DESCRIBED, lambda items: [items[0] | facts], first_only=False)


def confirming(*names):
    """A cause: asked again, the model confirms these names too; all names but decoys if none is given."""

    def cause(chat):
        oracle = chat.answer

        def answer(body):
            text = oracle(body)
            if CONFIRMED not in asked(body):
                return text
            items = json.loads(text)["items"]
            listed = dict(line.split(". ", 1) for line in asked(body).splitlines() if line[:1].isdigit())
            wanted = names or tuple(name for name in listed.values() if name not in DECOYS)
            return json.dumps(
                {"items": [item | {"same": item["same"] or listed[str(item["number"])] in wanted} for item in items]}
            )

        chat.answer = answer

    return cause


def added(phrase, *items):
    """A cause: `items` come before all others in the first answer to a question with `phrase`."""
    return changed_items(phrase, lambda given: [*items, *given])


def first_changed(phrase, **facts):
    """A cause: the first item of the first answer to a question with `phrase` has other facts."""
    return changed_items(phrase, lambda items: [items[0] | facts, *items[1:]])


def named(dossier):
    """The names of the target in a dossier, sorted."""
    return sorted((dossier.target.name, *dossier.target.aliases, *dossier.target.spellings))


def named_by_templates(dossier):
    """The history names the alias that was dropped, and the direct prompts are made from the target's own name."""
    without("Claude Monet")(dossier)
    assert any(line.startswith("The name 'Claude Monet' of the target was dropped") for line in dossier.provenance.history)
    assert dossier.target.direct_prompts[0] == "a painting by Van Gogh"
    assert any("were made from the target's name by fixed templates" in line for line in dossier.provenance.thin)


def without(*aliases, certain=()):
    """Asserts that `aliases` are no names of Van Gogh, that the history says so, and that all that asks for him holds his name."""

    def check(dossier):
        assert not {*aliases} & {*named(dossier)}
        history = " ".join(dossier.provenance.history)
        assert all(repr(alias) in history for alias in aliases), history
        assert {*certain} <= {*named(dossier)}
        assert len(dossier.target.direct_prompts) >= 8
        assert all("Van Gogh" in text or "van Gogh" in text for text in dossier.target.direct_prompts)
        assert not any("Monet" in text for text in dossier.target.direct_prompts)
        assert "Claude Monet" in {concept.name for concept in dossier.concepts}
        assert "Van Gogh" in dossier.target.label or "van Gogh" in dossier.target.label
        assert sound(dossier)

    return check


def sound(dossier):
    """Whether nothing in the dossier's names, concepts and languages is remarkable."""
    assert content_problems(dossier) == []
    assert content_remarks(dossier) == []
    return True


def holds_no(*texts, of="prompts"):
    """Asserts that none of `texts` came into the dossier, and that the dossier is sound."""

    def check(dossier):
        parts = {
            "prompts": [text for text, _ in dossier.prompts_with_owners()],
            "concepts": [concept.name for concept in dossier.concepts],
            "labels": [concept.label for concept in dossier.concepts] + [dossier.target.label],
        }
        assert not {*texts} & {*parts[of]}
        assert sound(dossier)

    return check


def concept(name, **facts):
    """A nearby concept as a model gives it."""
    prompts = [f"a harbour at noon by {name}", f"an orchard at dawn by {name}", f"a quiet street by {name}"]
    about = {"name": name, "kind": "style", "role": "retain", "may_contain_target": False}
    return about | {"label": f"a drawing by {name}", "prompts": prompts} | facts


def one_monet(dossier):
    """Asserts that Monet is one concept."""
    assert len([concept.name for concept in dossier.concepts if "monet" in fold(concept.name)]) == 1
    assert sound(dossier)


def labels_of_their_own(dossier):
    """Asserts that all retained concepts have different labels, and that siblings that shared one got their own."""
    labels = [concept.label for concept in dossier.concepts if concept.role == "retain"]
    assert len(set(labels)) == len(labels)
    assert sum(label.startswith("a picture of ") for label in labels) >= 5


def label_replaced(dossier):
    """Asserts that the label mentions the target, and that the history says so."""
    assert dossier.target.label == "a painting by Van Gogh"
    assert any("'a painting by Claude Monet'" in line for line in dossier.provenance.history)


def languages(*prompts):
    """A cause: these prompts with their codes come first when prompts in other languages are asked for."""
    return added(LANGUAGES, *({"prompt": text, "language": code} for text, code in prompts))


ENGLISH = "a wheat field with crows under a dark blue sky"
DISGUISED = (
    "a wheat field, ᴠᴀɴ ɢᴏɢʜ",
    "a wheat field, ᏙᎪᏁ ᏀᎾᏀᎻ",
    "a wheat field, V a n  G o g h",
    "a wheat field by V.v.G.",
    "a wheat field by V. Gogh",
    "a wheat field by Vincent",
    "a wheat field, hgoG naV",
    "a wheat field, Gogh, Vincent van",
    "a wheat field, فان جوخ",
    "a wheat field, ואן גוך",
    "a wheat field, वान गॉग",
    "a wheat field, Βαν Γκογκ",
)
SCHEMA = ("May Contain Target", "AboutTarget", "Concept 1 of 1228", "Item 1", "string", "name", "N/A", "lorem ipsum")

FAULTS = [
    Fault(
        "a concept in capitals",
        changed_items(SIBLINGS, lambda items: [*items, items[0] | {"name": items[0]["name"].upper()}]),
    ),
    # Aliases.
    Fault(
        "another painter as an alias",
        described(aliases=["Vincent van Gogh", "Claude Monet"]),
        without("Claude Monet", certain=["Vincent van Gogh"]),
    ),
    Fault("common nouns as aliases", described(aliases=["painting", "sunflowers"]), without("painting", "sunflowers")),
    Fault("a movement as an alias", described(aliases=["Post-Impressionism"]), without("Post-Impressionism")),
    Fault(
        "another painter as an alias, confirmed",
        several(described(aliases=["Vincent van Gogh", "Claude Monet"]), confirming("Claude Monet")),
        without("Claude Monet", certain=["Vincent van Gogh"]),
    ),
    Fault(
        "common nouns as aliases, confirmed",
        several(described(aliases=["painting", "sunflowers", "Sunflowers", "Wheat Field"]), confirming()),
        without("painting", "sunflowers", "Wheat Field"),
    ),
    Fault(
        "a movement as an alias, confirmed",
        several(described(aliases=["Post-Impressionism"]), confirming()),
        without("Post-Impressionism"),
    ),
    Fault(
        "a model that confirms every name",
        several(
            described(aliases=["Vincent van Gogh", "Claude Monet"]),
            changed_items(CONFIRMED, lambda items: [item | {"same": True} for item in items], first_only=False),
        ),
        without("Claude Monet", "Vincent van Gogh", certain=["Винсент Ван Гог"]),
    ),
    Fault(
        "a model that confirms nothing",
        changed_items(CONFIRMED, lambda items: [], first_only=False),
        without("Vincent van Gogh", certain=["Винсент Ван Гог"]),
    ),
    Fault(
        "a work as an alias, confirmed",
        several(described(aliases=["The Starry Night"]), confirming()),
        without("The Starry Night"),
    ),
    Fault("a brother as an alias", described(aliases=["Theo van Gogh"]), without("Theo van Gogh")),
    Fault("placeholders as aliases", described(aliases=["string", "alias 1"]), without("string", "alias 1")),
    Fault(
        "a wrong alias in every prompt",
        several(
            described(aliases=["Claude Monet"]),
            changed_items(
                DIRECT, lambda items: [{"prompt": f"{n} water lilies by Claude Monet"} for n in range(12)], first_only=False
            ),
        ),
        named_by_templates,
    ),
    Fault(
        "a wrong alias in some prompts",
        several(
            described(aliases=["Claude Monet"]),
            added(DIRECT, {"prompt": "water lilies by Claude Monet"}, {"prompt": "water lilies by Van Gogh and Claude Monet"}),
        ),
        without("Claude Monet"),
    ),
    Fault("a label about another painter", described(label="a painting by Claude Monet"), label_replaced),
    Fault("a label that is an anchor", first_changed(DESCRIBED, label="a photo"), holds_no("a photo", of="labels")),
    # Nearby concepts.
    Fault(
        "one concept in four spellings",
        added(
            SIBLINGS,
            *(concept(name) for name in ("Claude Monets", "Claude Monet (artist)", "Monet, Claude", "CLAUDE MONÉT")),
        ),
        one_monet,
    ),
    Fault(
        "the target in another spelling as a concept",
        added(SIBLINGS, *(concept(name, role="observe") for name in ("Van Gogh (painter)", "van Gogh, Vincent"))),
        holds_no("Van Gogh (painter)", "van Gogh, Vincent", of="concepts"),
    ),
    Fault("words of the schema as concepts", added(SIBLINGS, *map(concept, SCHEMA)), holds_no(*SCHEMA, of="concepts")),
    Fault(
        "words of the schema as labels",
        first_changed(SIBLINGS, label="a photo of string"),
        holds_no("a photo of string", of="labels"),
    ),
    Fault("an anchor as a label", first_changed(SIBLINGS, label="a photo"), holds_no("a photo", of="labels")),
    Fault(
        "placeholders as prompts",
        several(added(DIRECT, {"prompt": "prompt 1"}), added(NAMELESS, {"prompt": "string"}, {"prompt": "lorem ipsum dolor"})),
        holds_no("prompt 1", "string", "lorem ipsum dolor"),
    ),
    Fault(
        "prompts that do not mention their concept",
        first_changed(SIBLINGS, prompts=["a red boat at noon", "a green boat at noon", "a blue boat at noon"]),
        holds_no("a red boat at noon", "a green boat at noon", "a blue boat at noon"),
    ),
    Fault(
        "one label for all siblings",
        changed_items(SIBLINGS, lambda items: [item | {"label": "a painting by a painter"} for item in items], first_only=False),
        labels_of_their_own,
    ),
    Fault(
        "one label for all concepts, and no other when asked again",
        several(
            changed_items(RELATED, lambda items: [item | {"label": "a fine sight"} for item in items], first_only=False),
            changed_items("needs a label", lambda items: [item | {"label": "a fine sight"} for item in items], first_only=False),
        ),
        error=r"\d+ concepts were dropped: \d+ repeated a label",
    ),
    # Languages.
    Fault("English prompts as French", languages((ENGLISH, "fr"), (f"{ENGLISH} by Van Gogh", "fr")), holds_no(ENGLISH)),
    Fault("English prompts as Japanese", languages((ENGLISH, "ja")), holds_no(ENGLISH)),
    Fault("Russian prompts as French", languages(("поле под тёмным небом", "fr")), holds_no("поле под тёмным небом")),
    Fault(
        "a language that does not exist",
        languages(("un champ sous un ciel sombre", "xx")),
        holds_no("un champ sous un ciel sombre"),
    ),
    Fault(
        "a prompt in a language that the identification does not know",
        languages(("Qawwali kheta Van Gogh", "mnk")),
        lambda dossier: sound(dossier),
    ),
    # Names in nameless prompts.
    Fault(
        "names in disguise in nameless prompts", added(NAMELESS, *({"prompt": text} for text in DISGUISED)), holds_no(*DISGUISED)
    ),
]
