"""`dossier order` with several models: one ordering of each, a transcript of each, and none lost because another failed."""

import json

import pytest
from chat_server import reply, serving
from oracles import Looker, Oracle, as_bytes, atelier_knowledge

from dmun_audit._util.errors import UsageError
from dmun_audit.cli import main
from dmun_audit.discover.dossier_updates import updated_dossier
from dmun_audit.knowledge.diff import diff
from dmun_audit.knowledge.dossier import Dossier, Ordering
from dmun_audit.knowledge.orderings import labels, own_ordering
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.reading import parse_dossier, read_dossier
from dmun_audit.knowledge.show import show

PACK = open_knowledge("atelier-van-gogh")


def reversed_pack():
    """The pack as a model would know it that is wrong about every similarity."""
    concepts = [concept.model_copy(update={"similarity": 1 - concept.similarity}) for concept in PACK.concepts]
    return PACK.model_copy(update={"concepts": tuple(concepts)})


class Several:
    """Models behind one server, by name. A model without an oracle refuses."""

    def __init__(self, **oracles):
        self.oracles = oracles
        self.asked = []

    def __call__(self, body):
        name = body["model"].rpartition("/")[2]
        self.asked.append(name)
        return self.oracles[name](body) if name in self.oracles else "I would rather not."


@pytest.fixture
def chat():
    with serving(Several(right=Oracle(PACK), wrong=Oracle(reversed_pack()))) as running:
        yield running


def order(chat, tmp_path, *models, more=(), output="o.json"):
    words = ["dossier", "order", "atelier-van-gogh", "-o", str(tmp_path / output), "--repeats=1", *more]
    return main([*words, *(f"--llm={chat.url}#{model}" for model in models)])


def transcripts(tmp_path):
    return sorted(path.name for path in tmp_path.glob("*.transcript.jsonl"))


def test_each_language_model_gives_an_ordering_and_keeps_its_answers_apart(chat, tmp_path, capsys):
    assert order(chat, tmp_path, "big/right", "big/wrong") == 0
    dossier = read_dossier(tmp_path / "o.json")
    assert [(each.source, each.model) for each in dossier.orderings] == [
        ("language model", "big/right"), ("language model", "big/wrong"),
    ]  # fmt: skip
    right, wrong = (each.similarity for each in dossier.orderings)
    assert all(wrong[name] == pytest.approx(1 - right[name], abs=0.02) for name in right)
    assert [name.partition("-")[0] for name in transcripts(tmp_path)] == ["o.big", "o.big"]
    headers = {json.loads(path.read_text().splitlines()[0])["model"] for path in tmp_path.glob("*.jsonl")}
    assert headers == {"big/right", "big/wrong"}
    assert "ordered by language model big/right, language model big/wrong" in capsys.readouterr().out
    assert dossier.concepts == PACK.concepts
    assert "Ordered by big/right, which rated and ranked the concepts once each." in dossier.provenance.history
    text = " ".join(" ".join(show(dossier)).split())
    assert "by the language model big/right: " in text
    assert "by the language model big/wrong: " in text


def test_the_same_command_asks_nothing_again_and_writes_the_same_dossier(chat, tmp_path):
    assert order(chat, tmp_path, "right", "wrong") == 0
    first, asked = (tmp_path / "o.json").read_bytes(), len(chat.requests)
    assert order(chat, tmp_path, "wrong", "right", more=["--force"]) == 0
    assert len(chat.requests) == asked
    again = read_dossier(tmp_path / "o.json")
    assert again.orderings == tuple(reversed(parse_dossier(first, "first").orderings))


def test_a_model_added_later_joins_one_whose_answers_are_there(chat, tmp_path):
    assert order(chat, tmp_path, "right") == 0
    assert transcripts(tmp_path) == ["o.transcript.jsonl"]
    asked = len(chat.requests)
    assert order(chat, tmp_path, "right", "wrong", more=["--force"]) == 0
    assert set(chat.answer.asked[asked:]) == {"wrong"}
    assert len(transcripts(tmp_path)) == 2
    asked = len(chat.requests)
    assert order(chat, tmp_path, "wrong", more=["--force"]) == 0
    assert len(chat.requests) == asked


def test_a_model_that_refuses_does_not_lose_the_others(chat, tmp_path, capsys):
    assert order(chat, tmp_path, "stubborn", "right") == 1
    output = capsys.readouterr()
    assert f"WARNING: no ordering by --llm={chat.url}#stubborn: " in output.err
    assert "refused to say anything about similarity" in output.err
    assert [each.model for each in read_dossier(tmp_path / "o.json").orderings] == ["right"]
    asked = len(chat.requests)
    chat.answer.oracles["stubborn"] = Oracle(reversed_pack())
    assert order(chat, tmp_path, "right", more=["--force"]) == 0
    assert len(chat.requests) == asked


def test_a_server_that_does_not_know_the_question_does_not_lose_the_others(chat, tmp_path, capsys):
    words = ["dossier", "order", "atelier-van-gogh", "-o", str(tmp_path / "o.json"), "--repeats=1"]
    assert main([*words, f"--llm={chat.url}/elsewhere#gone", f"--llm={chat.url}#right"]) == 1
    assert f"no ordering by --llm={chat.url}/elsewhere#gone" in capsys.readouterr().err
    assert [each.model for each in read_dossier(tmp_path / "o.json").orderings] == ["right"]


class Spoiled:
    """An oracle whose answers to the questions that hold `phrase` are changed by `spoil`."""

    def __init__(self, dossier, phrase, spoil):
        self.oracle, self.phrase, self.spoil = Oracle(dossier), phrase, spoil

    def __call__(self, body):
        asked = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
        answer = self.oracle(body)
        return self.spoil(answer) if self.phrase in str(asked) else answer


def without_the_first(answer):
    return json.dumps({"items": [item for item in json.loads(answer)["items"] if item["number"] != 1]})


def test_ratings_that_lack_a_concept_do_not_lose_the_ordering(chat, tmp_path, capsys):
    chat.answer.oracles["forgetful"] = Spoiled(PACK, "Rate every one", without_the_first)
    assert order(chat, tmp_path, "forgetful") == 0
    dossier = read_dossier(tmp_path / "o.json")
    (ordering,) = dossier.orderings
    names = [concept.name for concept in PACK.concepts]
    lacking = [name for name in names if name not in ordering.similarity]
    assert len(lacking) == 1
    assert f"1 concept is not in the ordering by forgetful: {lacking[0]}." in dossier.provenance.history
    count = f"similarity (rated, 1 of 1) ({len(names) - 1} of {len(names)})"
    reasons = [line for line in dossier.provenance.history if line.startswith("Not answered in full: ")]
    assert len(reasons) == 1
    assert count in reasons[0]
    assert reasons[0].endswith("the language model had no more.")


def test_rankings_alone_still_give_an_ordering_and_the_history_says_why(chat, tmp_path):
    chat.answer.oracles["unwilling"] = Spoiled(PACK, "Rate every one", lambda answer: "I cannot help with that.")
    assert order(chat, tmp_path, "unwilling") == 0
    dossier = read_dossier(tmp_path / "o.json")
    assert set(dossier.orderings[0].similarity) == {concept.name for concept in PACK.concepts}
    count = f"(0 of {len(PACK.concepts)})"
    assert f"Not answered in full: similarity (rated, 1 of 1) {count}; the language model refused." in dossier.provenance.history


def test_a_whole_ordering_says_nothing_of_missing_answers(chat, tmp_path):
    assert order(chat, tmp_path, "right") == 0
    history = read_dossier(tmp_path / "o.json").provenance.history
    assert not [line for line in history if "Not answered in full" in line or "not in the ordering" in line]


@pytest.mark.slow
def test_one_concept_that_a_vision_language_model_will_not_rate_does_not_lose_the_others(store, tmp_path):
    name = PACK.concepts[2].name

    class Shy(Looker):
        def __call__(self, body):
            content = body["messages"][1]["content"]
            refused = not isinstance(content, str) and f"show {name}." in json.dumps(content, ensure_ascii=False)
            return "I cannot help with that." if refused else super().__call__(body)

    with serving(Several(shy=Shy(PACK))) as chat:
        words = [
            "dossier",
            "order",
            "atelier-van-gogh",
            "-o",
            str(tmp_path / "o.json"),
            f"--store={store}",
            "--base=atelier:base",
        ]
        assert main([*words, f"--vlm={chat.url}#shy"]) == 0
    dossier = read_dossier(tmp_path / "o.json")
    (ordering,) = dossier.orderings
    assert set(ordering.similarity) == {concept.name for concept in PACK.concepts} - {name}
    assert f"1 concept is not in the ordering by shy: {name}." in dossier.provenance.history
    assert f"Not answered in full: how similar {name!r} looks; the language model refused." in dossier.provenance.history


def test_strict_writes_nothing_unless_all_answer_and_names_those_that_do_not(chat, tmp_path, capsys):
    assert order(chat, tmp_path, "right", "stubborn", more=["--strict"]) == 4
    error = capsys.readouterr().err
    assert "no ordering by 1 of 2 models, so nothing is written" in error
    assert "#stubborn" in error
    assert not (tmp_path / "o.json").exists()
    asked = len(chat.requests)
    assert order(chat, tmp_path, "right", "wrong", more=["--strict"]) == 0
    assert "right" not in chat.answer.asked[asked:]


def test_models_that_all_fail_are_one_error(chat, tmp_path, capsys):
    assert order(chat, tmp_path, "stubborn", "mulish") == 4
    error = capsys.readouterr().err
    assert "no ordering by 2 of 2 models" in error
    assert "#stubborn" in error
    assert "#mulish" in error
    assert order(chat, tmp_path, "stubborn") == 4
    assert "\nERROR: the language model" in capsys.readouterr().err
    assert not (tmp_path / "o.json").exists()


def test_the_same_model_twice_and_a_mistyped_one_are_named_before_anything_is_asked(chat, tmp_path, capsys):
    assert order(chat, tmp_path, "right", "right") == 4
    assert "--llm names the same model twice" in capsys.readouterr().err
    words = ["dossier", "order", "atelier-van-gogh", "-o", str(tmp_path / "o.json")]
    assert main([*words, f"--llm={chat.url}#right", "--llm=transformer:x"]) == 4
    assert "did you mean transformers" in capsys.readouterr().err
    assert not chat.requests


def test_two_transcripts_of_one_model_give_one_ordering(chat, tmp_path, capsys):
    assert order(chat, tmp_path, "right") == 0
    answers = tmp_path / "o.transcript.jsonl"
    (tmp_path / "copy.jsonl").write_bytes(answers.read_bytes())
    words = ["dossier", "order", "atelier-van-gogh", "-o", str(tmp_path / "p.json"), "--repeats=1"]
    assert main([*words, f"--llm=transcript:{answers}", f"--llm=transcript:{tmp_path / 'copy.jsonl'}"]) == 1
    assert "right has ordered the concepts already" in capsys.readouterr().err
    assert len(read_dossier(tmp_path / "p.json").orderings) == 1


def test_a_content_filter_on_one_question_of_one_model_loses_only_that_model(chat, tmp_path):
    chat.fail_next(lambda handler, body: reply(handler, "", finish_reason="content_filter"))
    code = order(chat, tmp_path, "right", "wrong")
    models = [each.model for each in read_dossier(tmp_path / "o.json").orderings]
    assert (code, models) in [(0, ["right", "wrong"]), (1, ["wrong"])]


def test_another_model_joins_the_one_that_made_the_dossier(tmp_path, capsys):
    known = atelier_knowledge()
    with serving(Several(maker=Oracle(known), other=Oracle(known))) as chat:
        built, options = tmp_path / "built.json", ["--base=atelier:base", "--repeats=1"]
        assert main(["dossier", "build", "Van Gogh", "-o", str(built), f"--llm={chat.url}#maker", *options]) == 0, (
            capsys.readouterr()
        )
        assert (
            main(["dossier", "order", str(built), "-o", str(tmp_path / "o.json"), f"--llm={chat.url}#other", "--repeats=1"]) == 0
        )
    dossier = read_dossier(tmp_path / "o.json")
    assert [each.model for each in dossier.orderings] == ["maker", "other"]
    assert own_ordering(dossier).model == "maker"


def test_refining_and_attacking_keep_all_orderings():
    dossier = with_orderings(*stated("a", "b"))
    assert updated_dossier(dossier, dossier.adversarial[:2], ["Refined."]).orderings == dossier.orderings


@pytest.mark.slow
def test_a_base_that_cannot_be_loaded_is_told_before_anything_is_asked(chat, tmp_path, capsys):
    words = ["dossier", "order", "atelier-van-gogh", "-o", str(tmp_path / "o.json"), f"--llm={chat.url}#right"]
    assert main([*words, f"--vlm={chat.url}#right", f"--base={tmp_path}", f"--store={tmp_path / 's'}"]) == 4
    assert f"ERROR: {tmp_path}" in capsys.readouterr().err
    assert not chat.requests


@pytest.mark.slow
def test_two_vision_language_models_see_the_same_images(store, tmp_path):
    class Squinter(Looker):
        def __call__(self, body):
            answer = json.loads(super().__call__(body))
            answer["items"][0]["rating"] = 100 - answer["items"][0]["rating"]
            return json.dumps(answer)

    with serving(Several(sharp=Looker(atelier_knowledge()), blurred=Squinter(atelier_knowledge()))) as chat:
        words = [
            "dossier",
            "order",
            "atelier-van-gogh",
            "-o",
            str(tmp_path / "o.json"),
            f"--store={store}",
            "--base=atelier:base",
        ]
        assert main([*words, f"--vlm={chat.url}#sharp", f"--vlm={chat.url}#blurred"]) == 0
    sharp, blurred = read_dossier(tmp_path / "o.json").orderings
    assert (sharp.source, sharp.model, blurred.model) == ("vision-language model", "sharp", "blurred")
    assert all(sharp.similarity[name] + blurred.similarity[name] == pytest.approx(1) for name in sharp.similarity)
    assert all(name.startswith("o.vlm.") for name in transcripts(tmp_path))


# Dossiers with several orderings of one source.


def stated(*models, similarity=0.5):
    names = [concept.name for concept in PACK.concepts]
    return tuple(Ordering(source="language model", model=model, similarity=dict.fromkeys(names, similarity)) for model in models)


def with_orderings(*orderings):
    return Dossier.model_validate(PACK.model_dump() | {"orderings": [each.model_dump() for each in orderings]})


def test_a_dossier_may_hold_one_ordering_of_each_model_but_not_two(tmp_path):
    assert len(with_orderings(*stated("a", "b")).orderings) == 2
    with pytest.raises(ValueError, match="ordering by 'language model a' is listed twice"):
        with_orderings(*stated("a"), *stated("a"))


def test_a_fault_in_an_ordering_names_its_model(tmp_path):
    data = json.loads(as_bytes(with_orderings(*stated("a", "b")), tmp_path))
    data["orderings"][1]["similarity"]["Nobody"] = 0.3
    with pytest.raises(UsageError, match="the ordering by the language model b names 'Nobody'"):
        parse_dossier(json.dumps(data).encode(), "here")


def test_a_difference_names_the_model_whose_ordering_came_went_or_changed():
    old = with_orderings(*stated("org/a", "org/b"))
    new = with_orderings(*stated("org/b", similarity=0.6), *stated("org/c"))
    assert diff(old, new) == [
        "ordering by the language model a: gone",
        "ordering by the language model b: changed",
        "ordering by the language model c: new",
    ]
    assert diff(PACK, with_orderings(*stated("org/a"))) == ["ordering by the language model: new"]


def test_names_are_short_and_unique():
    keys = [
        ("language model", "x/llama"),
        ("language model", "y/llama"),
        ("language model", "qwen"),
        ("vision-language model", "z/eyes"),
    ]
    assert list(labels(keys).values()) == [
        "language model x/llama", "language model y/llama", "language model qwen", "vision-language model",
    ]  # fmt: skip


def test_the_ordering_that_gave_the_similarities_is_shown_once():
    own = Ordering(source="language model", model="a", similarity={each.name: each.similarity for each in PACK.concepts})
    curated = with_orderings(*stated("b"), own)
    assert own_ordering(curated) is None
    made = {"provenance": curated.provenance.model_copy(update={"backend": "chat completions", "model": "a"})}
    dossier = curated.model_copy(update=made)
    assert own_ordering(dossier) == own
    text = " ".join(" ".join(show(dossier)).split())
    assert "by the language model b: " in text
    assert "by the language model a: " not in text


@pytest.mark.parametrize(
    ("pack", "digest"),
    [
        ("atelier-van-gogh", "ceb9c02e2cb1d79a860da30e16bf199d28145752b0f7e318c14a8f7670cb3bdc"),
        ("van-gogh", "9adac1600c5397b5825617a61ae76bc6ac8e343e4da9a9249226bcadba6e73cd"),
    ],
)
def test_digests_of_shipped_packs_are_what_they_were_with_one_ordering_a_source(pack, digest):
    assert open_knowledge(pack).digest() == digest


def test_the_digest_of_a_dossier_with_one_ordering_is_what_it_was():
    assert with_orderings(*stated("a")).digest() == "6c6ebfb886c878954e7c5f6294edf7e36c4a746c340185d0d5372126b059783a"
