"""Interviews of several language models, and dossiers that one completes."""

from dataclasses import replace

import pytest
from chat_server import serving
from interview_faults import answers_before_it_fails, asked, refused_for_good
from oracles import Oracle, as_bytes

from dmun_audit._util.errors import UsageError
from dmun_audit.cli import main
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.check import problems
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview.completion import Start
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.knowledge.packs import open_knowledge

MISSPELLING, LANGUAGE, DESCRIPTION = "misspelt name", "other languages than English", "Say what it is."


@pytest.fixture
def second(known):
    """Another server, which refuses nothing."""
    with serving(Oracle(known)) as running:
        yield running


@pytest.fixture
def further(second, access, tmp_path):
    """Access to the second language model."""
    reference = parse_language_model(f"{second.url}#helper")
    return replace(access, reference=reference, transcript=tmp_path / "second.transcript.jsonl")


def test_the_second_is_asked_only_what_the_first_refused(brief, access, chat, second, further):
    refused_for_good(MISSPELLING, LANGUAGE)(chat)
    dossier = build_dossier(brief, access, further=[further])
    assert {phrase for phrase in (MISSPELLING, LANGUAGE) for body in second.requests if phrase in asked(body)} == {
        MISSPELLING,
        LANGUAGE,
    }
    assert len(second.requests) == 2
    assert dossier.provenance.thin == ()
    assert {prompt.strategy for prompt in dossier.adversarial} >= {"misspelling", "language"}
    assert dossier.provenance.model == "oracle"
    (helper,) = dossier.provenance.helpers
    assert (helper.backend, helper.model) == ("chat completions", "helper")
    assert helper.parts == ("adversarial prompts (language)", "adversarial prompts (misspelling)")
    assert (helper.questions, helper.tokens_in, helper.tokens_out) == (2, 200, 40)
    assert set(helper.templates) == {"system", "adversarial-language", "adversarial-misspelling"}


def test_one_that_is_not_needed_is_not_asked_and_leaves_no_trace(brief, access, chat, second, further, tmp_path):
    alone = as_bytes(build_dossier(brief, access), tmp_path)
    assert as_bytes(build_dossier(brief, access, further=[further]), tmp_path) == alone
    assert second.requests == []
    assert not further.transcript.exists()


def test_the_second_says_what_the_target_is_if_the_first_does_not(brief, access, chat, second, further):
    refused_for_good(DESCRIPTION)(chat)
    dossier = build_dossier(brief, access, further=[further])
    assert len(second.requests) == 1
    assert dossier.provenance.helpers[0].parts == ("what the target is",)
    assert dossier.provenance.thin == ()


def test_what_both_refuse_is_said_and_asking_again_costs_nothing(brief, access, chat, second, further, tmp_path):
    refused_for_good(MISSPELLING)(chat)
    refused_for_good(MISSPELLING)(second)
    dossier = build_dossier(brief, access, further=[further])
    assert dossier.provenance.thin == ("No adversarial prompts by misspelling: the model refused.",)
    assert dossier.provenance.helpers[0].parts == ()
    requests = len(chat.requests), len(second.requests)
    assert as_bytes(build_dossier(brief, access, further=[further]), tmp_path) == as_bytes(dossier, tmp_path)
    assert (len(chat.requests), len(second.requests)) == requests


def test_a_second_whose_server_fails_midway_is_left_out_and_the_rest_stays(brief, access, chat, second, further):
    refused_for_good(LANGUAGE, "a third of each skill", "Rate every one")(chat)
    answers_before_it_fails(second, 1)
    dossier = build_dossier(brief, access, further=[further])
    assert len(second.requests) == 2  # one answer; after the error no rating is asked for
    assert dossier.provenance.helpers[0].parts == ("prompts of composition",)
    assert "No adversarial prompts in other languages than English: the model refused." in dossier.provenance.thin
    (failure,) = [sentence for sentence in dossier.provenance.history if "failed" in sentence]
    assert failure == "The language model 'helper' failed, and was not asked any further."
    second.gate = lambda body: None
    assert build_dossier(brief, access, further=[further]).provenance.thin == ()


def test_a_third_is_asked_in_place_of_a_second_whose_server_fails(brief, access, chat, second, further, known, tmp_path):
    refused_for_good(MISSPELLING)(chat)
    answers_before_it_fails(second, 0)
    with serving(Oracle(known)) as third:
        reference = parse_language_model(f"{third.url}#third")
        last = replace(access, reference=reference, transcript=tmp_path / "third.transcript.jsonl")
        dossier = build_dossier(brief, access, further=[further, last])
    assert dossier.provenance.thin == ()
    assert [helper.model for helper in dossier.provenance.helpers] == ["third"]
    assert sum("'helper' failed" in sentence for sentence in dossier.provenance.history) == 1


def test_a_second_whose_server_fails_ends_what_needs_its_answer(brief, access, chat, second, further):
    refused_for_good(DESCRIPTION)(chat)
    answers_before_it_fails(second, 0)
    with pytest.raises(UsageError, match="the key is not valid any more"):
        build_dossier(brief, access, further=[further])


def test_both_transcripts_replay_without_the_servers(brief, access, chat, further, tmp_path):
    refused_for_good(MISSPELLING)(chat)
    first = as_bytes(build_dossier(brief, access, further=[further]), tmp_path)
    replayed = [replace(each, reference=parse_language_model(f"transcript:{each.transcript}")) for each in (access, further)]
    assert as_bytes(build_dossier(brief, replayed[0], further=replayed[1:]), tmp_path) == first


def test_ratings_of_the_second_stand_for_those_of_the_first(brief, access, chat, second, further, known):
    refused_for_good("Rate every one", "in order of their similarity")(chat)
    dossier = build_dossier(brief, access, further=[further])
    assert len(second.requests) == 4
    assert dossier.orderings[0].model == "helper"
    similarity = {concept.name: concept.similarity for concept in known.concepts}
    assert all(concept.similarity == pytest.approx(similarity[concept.name], abs=0.011) for concept in dossier.concepts)


# Starting from a dossier.


def without(dossier, strategies=(), concepts=0):
    """The dossier without these strategies and without its last concepts."""
    value = dossier.model_dump(mode="json")
    value["adversarial"] = [prompt for prompt in value["adversarial"] if prompt["strategy"] not in strategies]
    value["concepts"] = value["concepts"][: len(value["concepts"]) - concepts]
    return Dossier.model_validate(value)


def test_only_what_a_dossier_lacks_is_asked_for_and_the_rest_stays_as_it_is(brief, access, chat, known, counter):
    old = without(known, {"misspelling", "works"})
    dossier = build_dossier(brief, access, start=Start(old, "mine.json"))
    questions = [asked(body) for body in chat.requests]
    assert len(questions) == 2 + 2 * brief.repeats  # two strategies, and the ordering that no language model has given yet
    assert sum("misspelt" in text or "well-known works" in text for text in questions) == 2
    assert dossier.target == old.target
    assert dossier.concepts == old.concepts
    assert dossier.compositions == old.compositions
    assert dossier.adversarial[: len(old.adversarial)] == old.adversarial
    assert {prompt.strategy for prompt in dossier.adversarial[len(old.adversarial) :]} == {"misspelling", "works"}
    assert [ordering.model for ordering in dossier.orderings] == ["oracle"]
    assert dossier.provenance.backend == "curated"
    (helper,) = dossier.provenance.helpers
    assert helper.parts[:2] == ("adversarial prompts (works)", "adversarial prompts (misspelling)")
    assert dossier.provenance.history[-1].startswith(
        f"Started from mine.json (digest {old.digest()[:12]}): everything in it stays"
    )
    assert problems(dossier, counter) == []


def test_new_concepts_are_put_on_the_scale_of_the_old_ones(brief, access, chat, known):
    old = without(known, concepts=14)
    halved = [concept.model_copy(update={"similarity": concept.similarity / 2}) for concept in old.concepts]
    old = old.model_copy(update={"concepts": tuple(halved)})
    dossier = build_dossier(brief, access, start=Start(old, "mine.json"))
    assert dossier.concepts[: len(old.concepts)] == old.concepts
    new = dossier.concepts[len(old.concepts) :]
    assert len(dossier.concepts) >= 20
    similarity = {concept.name: concept.similarity for concept in known.concepts}
    least = min(concept.similarity for concept in old.concepts)
    for concept in new:
        assert concept.similarity == pytest.approx(max(similarity[concept.name] / 2, least), abs=0.02)


def test_a_thin_dossier_is_completed_by_another_model(brief, access, chat, further, second, tmp_path):
    refused_for_good(MISSPELLING)(chat)
    thin = build_dossier(brief, access)
    whole = build_dossier(brief, further, start=Start(thin, "thin.json"))
    assert thin.provenance.thin == ("No adversarial prompts by misspelling: the model refused.",)
    assert whole.provenance.thin == ()
    assert len(second.requests) == 1
    assert whole.provenance.model == "oracle"
    assert [helper.model for helper in whole.provenance.helpers] == ["helper"]
    assert whole.orderings == thin.orderings


def test_a_dossier_that_lacks_nothing_is_an_error(brief, access, chat):
    whole = build_dossier(brief, access)
    requests = len(chat.requests)
    with pytest.raises(UsageError, match=r"mine.json lacks nothing"):
        build_dossier(brief, access, start=Start(whole, "mine.json"))
    assert len(chat.requests) == requests


def test_digests_of_dossiers_without_the_new_fields_stay():
    digests = {name: open_knowledge(name).digest()[:10] for name in ("van-gogh", "church", "nudity", "atelier-sunflowers")}
    expected = {"van-gogh": "9adac1600c", "church": "004af69f61", "nudity": "bd372d1c74", "atelier-sunflowers": "924eecc4a4"}
    assert digests == expected
    dossier = open_knowledge("van-gogh")
    thin = dossier.provenance.model_copy(update={"thin": ("No prompts of composition.",)})
    assert dossier.model_copy(update={"provenance": thin}).digest() != dossier.digest()


@pytest.mark.parametrize("model", ["#m", ""])
def test_servers_with_models_of_one_name_or_of_none_have_transcripts_of_their_own(chat, second, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    refused_for_good(MISSPELLING)(chat)
    for server, name in ((chat, "a"), (second, "b")):
        server.pages["/v1/models"] = {"data": [{"id": name}]}
    command = [
        "dossier",
        "build",
        "Van Gogh",
        f"--llm={chat.url}{model}",
        f"--llm={second.url}{model}",
        "-o",
        "vg.json",
        "--repeats=1",
    ]
    assert main(command) == 0
    written, requests = (tmp_path / "vg.json").read_bytes(), (len(chat.requests), len(second.requests))
    assert main([*command, "--force"]) == 0
    assert (tmp_path / "vg.json").read_bytes() == written
    assert (len(chat.requests), len(second.requests)) == requests
