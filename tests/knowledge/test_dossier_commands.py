"""`dmun-audit dossier check | show | diff`, and the bad input that every dossier command refuses at once."""

import json
import logging
import subprocess
import sys
import time

import pytest

from dmun_audit._util.terminal import display_width
from dmun_audit.cli import build_parser, main
from dmun_audit.cli.dossier.idle_options import remark_on_idle_options
from dmun_audit.knowledge.diff import diff
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.knowledge.packs import FOLDER, open_knowledge
from dmun_audit.knowledge.reading import parse_dossier
from dmun_audit.knowledge.show import show

LLM = "--llm=http://127.0.0.1:9/v1#nobody"


@pytest.fixture
def raw():
    return json.loads((FOLDER / "church.json").read_text())


@pytest.fixture
def check(tmp_path, capsys):
    """Runs `dossier check` on a dossier; gives its exit code and the printed lines."""

    def run(value, *options):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(value))
        code = main(["dossier", "check", str(path), *options])
        lines = capsys.readouterr().out.splitlines()
        return code, [line.removeprefix(f"{path}: ") for line in lines if not line.startswith("  ")]  # without the score

    return run


# check


def test_check_names_faults_of_every_kind_at_once(raw, check):
    raw |= {"world": "moon", "colour": "red"}
    raw["target"]["kind"] = "thing"
    raw["concepts"][5] |= {"similarity": 1.5}
    raw["concepts"][6] |= {"role": "retian"}
    raw["concepts"][7]["prompts"][0] = raw["target"]["direct_prompts"][0]
    raw["adversarial"][0]["text"] = "an old churrch with a bell"
    raw["adversarial"][4]["text"] = "the biggest church of Paris at dusk"
    raw["compositions"][0]["text"] = "word " * 100
    code, lines = check(raw)
    assert code == 1
    wanted = [
        "world: Input should be",
        "colour: Extra inputs",
        "target.kind: Input should be",
        f"concepts.5 {raw['concepts'][5]['name']!r} similarity",
        f"concepts.6 {raw['concepts'][6]['name']!r} role",
        "stands in two roles: the target and concept",
        "'an old churrch with a bell' (description) comes close to naming the target",
        "'the biggest church of Paris at dusk' (features) names the target",
        "of the compositions has 102 tokens; CLIP reads 77",
    ]
    problems = [line for line in lines if line.startswith("PROBLEM: ")]
    assert problems == lines
    assert all(sum(part in line for line in problems) == 1 for part in wanted)
    assert len(problems) == len(wanted) + 1  # the direct prompt in a retained concept names the target as well
    assert max(map(len, problems)) < 240


@pytest.mark.parametrize(
    "value", [[], 5, None, {}, {"concepts": 5, "target": []}, {"concepts": [], "target": {}, "provenance": 7}]
)
def test_check_survives_values_that_are_no_dossier(value, check):
    code, lines = check(value)
    assert code == 1
    assert len(lines) == len(set(lines)) >= 1
    assert all("‽" not in line for line in lines)


def test_deeply_nested_parts_are_refused_without_a_traceback(raw, check):
    deep = []
    for _ in range(300):
        deep = [deep]
    code, lines = check(raw | {"deep": deep})
    assert code == 1
    assert lines


def test_a_fault_in_a_concept_does_not_make_its_orderings_seem_wrong(raw, check):
    names = [concept["name"] for concept in raw["concepts"]]
    raw["orderings"] = [{"source": "language model", "model": "x", "similarity": dict.fromkeys(names, 0.5)}]
    raw["concepts"][0]["similarity"] = 7
    assert [line.partition(" ")[2][:10] for line in check(raw)[1]] == ["concepts.0"]


def test_every_file_is_checked_whatever_the_first_one_is(tmp_path, capsys):
    names = {"binary.json": b"\x00\xff", "list.json": b"[" * 5, "transcript.json": b'{"format": 1, "backend": "x"}\n{}\n'}
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
    code = main(["dossier", "check", *(str(tmp_path / name) for name in names), "church"])
    output = capsys.readouterr().out
    assert code == 1
    assert output.count("is not valid JSON") == 2
    assert "is a transcript, no dossier" in output
    assert "\nchurch: good\n" in output


def test_an_unknown_strategy_is_a_problem(raw, check):
    raw["adversarial"][0] |= {"text": "a big church", "strategy": "descripton"}
    raw["adversarial"][1] |= {"strategy": "magic"}
    lines = check(raw)[1]
    assert "'descripton', did you mean 'description'?" in lines[0]
    assert "'magic' (biography, " in lines[1]
    assert len(lines) == 2


def test_a_concept_that_is_the_target_and_one_that_an_ordering_misses_are_named(raw, check):
    names = [concept["name"] for concept in raw["concepts"]]
    raw["orderings"] = [
        {"source": "language model", "model": "x", "similarity": dict.fromkeys(names, 0.5), "spread": {names[0]: 0.1}}
    ]
    raw["concepts"][0]["name"] = "Churches"
    lines = check(raw)[1]
    assert len(lines) == 2
    assert "concept 'Churches' is the target itself" in lines[0]
    assert f"the ordering by the language model x names {names[0]!r}" in lines[1]


@pytest.mark.slow
def test_a_hostile_dossier_is_read_in_bounded_time(raw, check):
    raw["target"]["aliases"] = [f"the {number}th great church of the eastern valley" for number in range(64)]
    filler = "a word and another and one more with nothing else in it"
    raw["adversarial"] = [{"text": f"{filler} {number}", "strategy": "description"} for number in range(4_000)]
    started = time.monotonic()
    check(raw)
    assert time.monotonic() - started < 60
    raw["target"]["aliases"] *= 10
    assert any("at most 64" in line for line in check(raw)[1])


def test_shortages_are_remarked_and_are_problems_under_strict(raw, check):
    raw["adversarial"] = raw["adversarial"][:25]
    raw["compositions"] = []
    code, lines = check(raw)
    assert code == 0
    assert "remark: 25 adversarial prompts; 40 make a good dossier" in lines
    assert "remark: no prompts of composition" in lines
    assert check(raw, "--strict")[0] == 1


def test_a_base_model_counts_with_its_own_tokenizer(raw, check):
    assert check(raw)[1] == ["good"]
    code, lines = check(raw, "--base=atelier:base")
    assert code == 1
    assert all("atelier:base reads 48" in line for line in lines)


def test_check_takes_packs_by_name(capsys):
    assert main(["dossier", "check", "church", "tench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == ["church: good", "tench: good"]


def test_check_says_what_a_dossier_is_worth(capsys):
    assert main(["dossier", "check", "van-gogh", "atelier-van-gogh"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["van-gogh: good", "  part                       there  counted  wanted    points"]
    assert "  nearby concepts               29       29      20  25 of 25" in lines
    assert [line for line in lines if "score" in line] == ["  score: 100 of 100", "  score: 70 of 100"]


def test_images_need_a_base_model(capsys):
    assert main(["dossier", "check", "church", "--images"]) == 4
    assert "--images needs --base" in capsys.readouterr().err


# show


def test_show_lists_the_concepts_as_a_vision_language_model_orders_them(raw):
    names = [concept["name"] for concept in raw["concepts"]]
    similarity = {name: place / 100 for place, name in enumerate(names)}
    raw["orderings"] = [{"source": "vision-language model", "model": "eyes", "similarity": similarity}]
    text = " ".join(" ".join(show(Dossier.model_validate(raw))).split())
    assert f"by the vision-language model eyes: {', '.join(reversed(names))}" in text


@pytest.mark.parametrize("width", [80, 110, 200])
@pytest.mark.parametrize("name", ["church", "elon-musk", "atelier-van-gogh"])
def test_show_prints_everything_within_the_width(name, width):
    dossier = open_knowledge(name)
    lines = show(dossier, width)
    text = " ".join(" ".join(lines).split())
    assert all(concept.name in text for concept in dossier.concepts)
    assert all(" ".join(prompt.text.split()) in text for prompt in (*dossier.adversarial, *dossier.compositions))
    assert dossier.digest() in text
    places = [
        next(i for i, line in enumerate(lines) if f" {concept.name} " in f"{line} " and ("█" in line or "·" in line[5:]))
        for concept in dossier.nearest({"retain", "erase", "observe"}, 99)
    ]
    assert places == sorted(places)
    assert max(map(display_width, lines)) <= width


def test_show_controls_no_terminal(raw):
    raw["concepts"][0]["name"] += "\x1b[2J"
    raw["adversarial"][0]["text"] += "\u202e"
    text = "\n".join(show(parse_dossier(json.dumps(raw).encode(), "x")))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m dmun_audit.cli dossier show church | head -n 1"
    run = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert run.stdout == "church · object\n"
    assert run.stderr == ""


# diff


def test_equal_dossiers_do_not_differ(capsys):
    assert main(["dossier", "diff", "church", "church"]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_diff_names_the_changes_in_terms_of_an_audit(raw):
    old = Dossier.model_validate(raw)
    first, second, third = (concept["name"] for concept in raw["concepts"][4:7])
    raw["concepts"][4] |= {"role": "observe", "may_contain_target": True}
    raw["concepts"][5] |= {"similarity": 0.01}
    raw["concepts"][6]["prompts"][0] = "something quite different"
    gone = raw["concepts"].pop(10)
    del raw["adversarial"][0]
    raw["adversarial"].append({"text": "the tower that calls the village", "strategy": "indirect", "note": "found by attack"})
    raw["provenance"] |= {"history": ["Looked at twice."], "model": "a better one"}
    new = Dossier.model_validate(raw)
    lines = diff(old, new)
    text = "\n".join(lines)
    place = [c.name for c in old.nearest({"retain", "erase", "observe"}, 99)].index(second) + 1
    assert f"{first}: retain → observe" in lines
    assert f"{first}: its pictures may now show the target" in lines
    assert f"{second}: similarity {old.concepts[5].similarity:.2f} → 0.01, place {place} → {len(raw['concepts'])}" in lines
    assert f"{third}: prompt new: 'something quite different'" in lines
    assert f"nearby concept gone: {gone['name']} ({gone['role']}, {gone['similarity']:.2f})" in lines
    assert "adversarial prompt new: 'the tower that calls the village' (indirect; found by attack)" in lines
    assert "Spearman's ρ" in text
    assert "model: none → a better one" in lines
    assert "since: Looked at twice." in lines
    assert len(lines) < 20


def test_show_and_diff_say_what_a_thin_dossier_lacks_and_who_helped(raw):
    whole = Dossier.model_validate(raw)
    helper = {"backend": "chat completions", "model": "helper", "parts": ["adversarial prompts (works)"]}
    raw["provenance"] |= {"thin": ["No prompts of composition."], "helpers": [helper]}
    thin = Dossier.model_validate(raw)
    assert show(thin)[-2:] == ["WHAT IS MISSING  the dossier is thin", "  No prompts of composition."]
    assert "  helper (chat completions) gave adversarial prompts (works)" in show(thin)
    assert diff(whole, thin) == ["now missing: No prompts of composition.", "helper gave adversarial prompts (works)"]
    assert diff(thin, whole) == ["no longer missing: No prompts of composition."]


# Bad input is refused before a question is asked or an image rendered.


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["build", "church", LLM, "--timeout=0"], "--timeout=0.0 makes no sense"),
        (["build", "church", LLM, "--timeout=nan"], "--timeout=nan makes no sense"),
        (["build", "church", LLM, "--concurrency=0"], "--concurrency=0 makes no sense"),
        (["build", "church", LLM, "--batch=-3"], "--batch=-3 makes no sense"),
        (["build", "church", LLM, "--temperature=-1"], "--temperature=-1.0 makes no sense"),
        (["build", "church", LLM, "--repeats=0"], "--repeats=0 makes no sense"),
        (["build", "church", LLM, "--max-minutes=5", "--no-preflight"], "--max-minutes and --no-preflight exclude each other"),
        (["order", "church", LLM, "-o", "o.json", "--max-minutes=5", "--no-preflight"], "exclude each other"),
        (["build", " ", LLM], "the target is empty"),
        (["build", "church", "--llm=gpt"], "'gpt' names no language model"),
        (["build", "church", "--llm=http://127.0.0.1:9/v1"], "the language model cannot be reached at http://127.0.0.1:9/v1"),
        (["build", "church", "--llm=http://me:secret@127.0.0.1:9/v1#m"], "carries credentials"),
        (["build", "church", "--llm=transcript:nowhere"], "names no file"),
        (["build", "church", LLM, "--vlm=http://127.0.0.1:9/v1#m"], "--vlm needs --base"),
        (["build", "church", LLM, "--base=atelier:base", "--vlm=eyes"], "'eyes' names no language model"),
        (["build", "church", LLM, "--base=atelier:base", "--vlm=http://127.0.0.1:9/v1#m", "--policy=bogus"], "policy 'bogus'"),
        (
            ["order", "church", "-o", "o.json", "--base=atelier:base", "--vlm=http://127.0.0.1:9/v1#m", "--policy=bogus"],
            "'bogus'",
        ),
        (["build", "church", LLM, "--base=atelier:nothing"], "no model 'nothing'"),
        (["build", "church", LLM, "-o", "."], "is a folder"),
        (["build", "nudity", LLM], "--allow-sensitive"),
        (["refine", "church", LLM, "-o", "x.json", "--base=atelier:base", "--rounds=0"], "--rounds=0 makes no sense"),
        (["attack", "church", LLM, "-o", "x.json", "--model=atelier:base", "--proposals=0"], "--proposals=0 makes no sense"),
        (["check", "nowhere"], "neither a dossier's file nor a pack"),
        (["diff", "church", "nowhere"], "neither a dossier's file nor a pack"),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_nothing_behind(arguments, culprit, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["dossier", *arguments]) == 4
    output = capsys.readouterr().err
    assert culprit in output
    assert output.count("ERROR") == 1
    assert "secret" not in output
    assert list(tmp_path.iterdir()) == []


# Options without effect.

AT_NOBODY = "http://127.0.0.1:9/v1#nobody"
ORDER = ["order", "church", "-o", "o.json", "--base=atelier:base"]
REFINE = ["refine", "church", "-o", "o.json", "--base=atelier:nothing"]
REPLAYED = "--llm=transcript:old.jsonl"
ONLY_HTTP = "--batch and --quantize have no effect on models over HTTP"


@pytest.mark.parametrize(
    ("arguments", "remarks"),
    [
        (
            ["check", "church", "--policy=smoke", "--judge=x", "--store=s", "--max-images=2", "--allow-sensitive"],
            ["--policy, --judge, --store, --max-images and --allow-sensitive have no effect without --images"],
        ),
        (["check", "church", "--base=atelier:base", "--strict"], []),
        (
            ["build", "church", LLM, "--policy=smoke", "--vlm-header=a=b"],
            ["--policy and --vlm-header have no effect without --vlm"],
        ),
        (["build", "church", LLM, "--batch=2", "--quantize=4bit", "--timeout=2"], [ONLY_HTTP]),
        (
            ["build", "church", REPLAYED, "--max-tokens=999", "--max-minutes=5", "--temperature=0.5"],
            ["--max-tokens and --max-minutes have no effect where all answers come from a transcript"],
        ),
        ([*ORDER, LLM, "--store=s", "--repeats=1"], ["--base and --store have no effect without --vlm"]),
        ([*REFINE, LLM, "--quantize=8bit", "--batch=3", "--policy=smoke", "--max-images=2"], [ONLY_HTTP]),
        (
            [*REFINE, LLM, "--no-preflight", "--price-in=2", "--max-tokens=999"],
            ["--price-in has no effect with --no-preflight, because nothing is measured"],
        ),
        (
            [*REFINE, "--llm=transformers:nowhere", "--quantize=4bit", "--timeout=2", "--concurrency=1"],
            ["--timeout and --concurrency have no effect on models of transformers"],
        ),
    ],
)
def test_options_without_effect_are_named_in_one_line(arguments, remarks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.jsonl").write_text('{"format": 1, "backend": "chat completions", "model": "old", "date": ""}\n')
    main(["dossier", *arguments])
    said = [line for line in capsys.readouterr().err.splitlines() if "no effect" in line]
    assert said == [f"  remark: {remark}" for remark in remarks]


@pytest.mark.parametrize(
    ("models", "options", "remarks"),
    [
        (
            ["--llm=transformers:nowhere", LLM],
            ["--batch=2", "--quantize=4bit", "--timeout=2"],
            ["--base has no effect without --vlm"],
        ),
        (
            [f"--vlm={AT_NOBODY}"],
            ["--repeats=1", "--llm-option=a=1", "--price-out=1"],
            ["--repeats, --llm-option and --price-out have no effect without --llm"],
        ),
        (
            ["--llm=transcript:old.jsonl", f"--vlm={AT_NOBODY}"],
            ["--base=b", "--price-in=1", "--llm-option=a=1", "--vlm-header=a=1", "--timeout=9"],
            ["--price-in and --llm-option have no effect where all answers come from a transcript"],
        ),
    ],
)
def test_options_of_some_of_the_models_have_an_effect(models, options, remarks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.jsonl").write_text('{"format": 1, "backend": "chat completions", "model": "old", "date": ""}\n')
    arguments = build_parser().parse_args(["dossier", *ORDER, *models, *options])
    remark_on_idle_options(arguments, [parse_language_model(text.partition("=")[2]) for text in models])
    assert capsys.readouterr().err == "".join(f"  remark: {remark}\n" for remark in remarks)


def test_how_a_command_ended_is_not_said_in_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    package = logging.getLogger("dmun_audit")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    before = package.level
    package.setLevel(logging.NOTSET)
    try:
        assert main(["dossier", "build", "church", LLM, "--max-minutes=5", "--no-preflight"]) == 4
        package.info("a retry")
    finally:
        package.setLevel(before)
    said = capsys.readouterr().err
    assert "  a retry\n" in said
    assert "command dossier" not in said


def test_a_server_that_never_answered_leaves_no_transcript_of_its_model(brief, access, chat):
    from dataclasses import replace

    from chat_server import send

    from dmun_audit._util.errors import UsageError
    from dmun_audit.knowledge.build import build_dossier
    from dmun_audit.knowledge.language_models.reference import parse_language_model

    chat.fail_next(lambda handler, body: send(handler, b'{"error": "no such model"}', 404))
    with pytest.raises(UsageError, match="no such model"):
        build_dossier(brief, access)
    other = replace(access, reference=parse_language_model(f"{chat.url}#another"))
    assert build_dossier(brief, other).provenance.model == "another"
    with pytest.raises(UsageError, match="holds the answers of another language model"):
        build_dossier(brief, access)
