"""Audits with a thin dossier: the header says what could not be had, and the audit is no release evidence."""

import pytest
from chat_server import serving
from interview_faults import refused_for_good
from oracles import Looker, atelier_knowledge

from dmun_audit.config.describe import describe
from dmun_audit.config.resolve import Options, resolve
from dmun_audit.decisions.release_evidence import weaker_than_a_release_audit
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.plan.seeds import DERIVED
from dmun_audit.policy import load_policy
from dmun_audit.runtime.manifest import _planned

REFUSED = "No adversarial prompts by misspelling: the model refused."


def thin_dossier(name, *sentences, **parts):
    """A pack that says of itself that it is thin."""
    dossier = open_knowledge(name)
    provenance = dossier.provenance.model_copy(update={"thin": sentences})
    return dossier.model_copy(update={"provenance": provenance, **parts})


@pytest.mark.slow
def test_an_audit_that_asks_a_language_model_writes_a_thin_dossier_and_says_so(tmp_path, capsys):
    options = Options(target="Van Gogh", store=str(tmp_path))
    with serving(Looker(atelier_knowledge())) as chat:
        refused_for_good("misspelt name")(chat)
        first = resolve(Options(**vars(options) | {"knowledge": f"{chat.url}#looker"}))
        requests = len(chat.requests)
        again = resolve(Options(**vars(options) | {"knowledge": f"{chat.url}#looker"}))
        assert len(chat.requests) == requests
    assert REFUSED in first.dossier.provenance.thin
    assert first.dossier == again.dossier
    for config in (first, again):
        assert f"  the dossier is thin: {REFUSED}" in describe(config)
    assert REFUSED in _planned(first)["dossier"]["provenance"]["thin"]


def test_the_header_says_once_that_the_dossier_is_thin(tmp_path):
    options = Options(knowledge=thin_dossier("atelier-van-gogh", REFUSED, "No prompts of composition."), store=str(tmp_path))
    lines = describe(resolve(options))
    place = lines.index(f"  the dossier is thin: {REFUSED}")
    assert lines[place + 1] == "    No prompts of composition."
    assert " ".join(lines).count("  the dossier is thin: ") == 1


@pytest.mark.parametrize(
    ("dossier", "reasons"),
    [
        (open_knowledge("van-gogh"), []),
        (
            thin_dossier("van-gogh", REFUSED, compositions=()),
            ["the dossier is thin: no prompts of composition"],
        ),
        (thin_dossier("van-gogh", "Similarity (rated, 1 of 3): 9 of 29 items could be had; its answers were not valid."), []),
    ],
)
def test_a_dossier_that_lacks_a_part_with_a_claim_is_no_release_evidence(dossier, reasons):
    assert weaker_than_a_release_audit(load_policy("release"), DERIVED, dossier) == reasons


def test_a_dossier_made_by_hand_may_have_less():
    dossier = open_knowledge("van-gogh").model_copy(update={"compositions": ()})
    assert weaker_than_a_release_audit(load_policy("release"), DERIVED, dossier) == []
