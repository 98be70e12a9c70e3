"""`dmun-audit dossier build`: thin dossiers, several targets, several language models, what it says at its end."""

import json

import pytest
from chat_server import serving
from interview_faults import answers_before_it_fails, asked, refused_for_good
from oracles import Oracle

from dmun_audit.cli import main
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.reading import read_dossier

MISSPELLING = "misspelt name"


@pytest.fixture
def build(chat, tmp_path, monkeypatch, capsys):
    """Runs `dossier build` in an empty folder; gives the exit code, the printed lines and the lines of progress."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, llm=f"--llm={chat.url}#oracle"):
        code = main(["dossier", "build", *arguments, llm, "--repeats=1", "--concurrency=1"])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_the_end_says_what_was_built_what_it_is_worth_and_what_to_do(build):
    code, output, _ = build("Van Gogh")
    assert code == 0
    assert output.startswith("van-gogh.json: 29 nearby concepts, ")
    assert "  score: 100 of 100\n" in output
    assert "Read it before you trust it:  dmun-audit dossier show van-gogh.json" in output
    assert "thin" not in output
    assert "--start-from" not in output


def test_the_end_of_a_thin_dossier_says_what_is_missing_and_how_to_get_it(build, chat, tmp_path, capsys):
    refused_for_good(MISSPELLING)(chat)
    code, output, _ = build("Van Gogh")
    assert code == 0
    assert "The dossier is thin:\n  No adversarial prompts by misspelling: the model refused.\n" in output
    assert "dmun-audit dossier build 'Van Gogh' --start-from=van-gogh.json --llm=… -o van-gogh-complete.json" in output
    assert main(["dossier", "check", "van-gogh.json"]) == 0
    capsys.readouterr()
    assert main(["dossier", "check", "van-gogh.json", "--strict"]) == 1
    assert capsys.readouterr().out.endswith("\n--strict: 1 remark counts as a problem\n")
    assert main(["dossier", "check", "van-gogh.json", "van-gogh.json", "--strict"]) == 1
    assert capsys.readouterr().out.endswith("\n--strict: 2 remarks count as problems\n")


def test_strict_writes_no_thin_dossier_and_keeps_the_answers(build, chat, tmp_path):
    refused_for_good(MISSPELLING, "a third of each skill")(chat)
    code, _, errors = build("Van Gogh", "--strict")
    assert code == 4
    assert errors.count("ERROR") == 1
    refused = "misspelling: the model refused; thin: No prompts of composition: the model refused"
    assert f"thin: No adversarial prompts by {refused}" in " ".join(errors.split())
    assert [path.name for path in tmp_path.iterdir()] == ["van-gogh.transcript.jsonl"]
    requests = len(chat.requests)
    assert build("Van Gogh")[0] == 0
    assert len(chat.requests) == requests


def test_strict_writes_a_dossier_that_lacks_nothing(build, tmp_path):
    assert build("Van Gogh", "--strict")[0] == 0
    assert (tmp_path / "van-gogh.json").exists()


def test_a_kind_stands_for_a_description_that_nobody_gives(build, chat, tmp_path):
    refused_for_good("Say what it is.")(chat)
    assert build("Van Gogh")[0] == 4
    code, output, _ = build("Van Gogh", "--kind=style")
    assert code == 0
    target = read_dossier(tmp_path / "van-gogh.json").target
    assert (target.kind, target.aliases, target.label) == ("style", (), "a painting by Van Gogh")
    assert (
        "No description of the target: the model refused. Its kind is that of --kind, its label 'a painting by Van Gogh'."
        in output
    )


def test_the_users_kind_goes_before_the_models(build, tmp_path):
    code, output, progress = build("Van Gogh", "--kind=identity", "--strict")
    assert code == 0
    dossier = read_dossier(tmp_path / "van-gogh.json")
    assert (dossier.target.kind, dossier.target.label) == ("identity", "a photo of Van Gogh")
    assert "Vincent van Gogh" in dossier.target.aliases
    assert dossier.provenance.thin == ()
    assert "thin" not in output
    (remark,) = [sentence for sentence in dossier.provenance.history if "(style) than --kind says (identity)" in sentence]
    assert progress.count(remark) == 1


# Several targets.


class Painters:
    """A language model that knows two painters, and refuses to speak of one on demand."""

    def __init__(self):
        self.oracles = {name: Oracle(open_knowledge(pack)) for name, pack in (("Monet", "monet"), ("Van Gogh", "van-gogh"))}
        self.silent = ""

    def __call__(self, body):
        target = asked(body).partition("target is: ")[2]
        name = next(name for name in self.oracles if target.startswith(name))
        return json.dumps({"items": []}) if name == self.silent else self.oracles[name](body)


@pytest.fixture
def painters():
    """A server of both painters: its URL as an option, and who answers."""
    model = Painters()
    with serving(model) as chat:
        yield f"--llm={chat.url}#painters", model


def test_several_targets_make_a_dossier_each_and_progress_names_them(build, painters, tmp_path):
    code, output, progress = build("Van Gogh", "Monet", "-o", "made/", llm=painters[0])
    assert code == 0
    for file, name in (("van-gogh", "Van Gogh"), ("monet", "Monet")):
        assert read_dossier(tmp_path / "made" / f"{file}.json").target.name == name
        assert (tmp_path / "made" / f"{file}.transcript.jsonl").exists()
        assert f"  {name}: 1 question" in progress
    assert output.endswith("2 of 2 dossiers are written\n")


def test_an_error_in_one_target_does_not_lose_the_others(build, painters, tmp_path):
    painters[1].silent = "Van Gogh"
    code, output, errors = build("Van Gogh", "Monet", "-o", "made/", llm=painters[0])
    assert code == 4
    assert sorted(path.name for path in (tmp_path / "made").glob("*.json")) == ["monet.json"]
    assert errors.count("ERROR: Van Gogh: ") == errors.count("ERROR") == 1
    assert output.endswith("1 of 2 dossiers are written; not: Van Gogh\n")


# Several language models, own questions, a dossier to start from.


def test_a_second_model_has_its_own_transcript_and_is_named(build, chat, known, tmp_path):
    refused_for_good(MISSPELLING)(chat)
    with serving(Oracle(known)) as second:
        code, output, _ = build("Van Gogh", f"--llm={chat.url}#oracle", llm=f"--llm={second.url}#helper")
    assert code == 0
    assert "helper gave adversarial prompts (misspelling), in 1 answer (100 tokens in, 20 out)" in output
    assert "thin" not in output
    transcripts = sorted(path.name for path in tmp_path.glob("*.transcript.jsonl"))
    assert len(transcripts) == 2
    assert "van-gogh.transcript.jsonl" in transcripts
    assert any(name.startswith("van-gogh.helper-") for name in transcripts)


def test_the_output_says_once_that_the_server_of_a_second_model_failed(build, chat, known):
    refused_for_good(MISSPELLING, "a third of each skill")(chat)
    with serving(Oracle(known)) as second:
        arguments, llm = ["Van Gogh", f"--llm={chat.url}#oracle"], f"--llm={second.url}#helper"
        answers_before_it_fails(second, 1)
        code, output, progress = build(*arguments, llm=llm)
        assert code == 0
        assert "The dossier is thin:\n  No adversarial prompts by misspelling: the model refused.\n" in output
        assert "helper gave prompts of composition, in 1 answer" in output
        assert progress.count("The language model 'helper' failed, and was not asked any further.") == 1
        assert progress.count("WARNING: the language model 'helper' failed: ") == 1
        assert "helper: all answers are in the transcript" not in progress
        code, _, progress = build(*arguments, "--strict", "--force", llm=llm)
    assert code == 4
    assert "The language model 'helper' failed" in progress
    assert "thin: No adversarial prompts by misspelling: the model refused" in progress


def test_a_pack_is_completed(build, chat, tmp_path):
    code, output, _ = build("Vincent van Gogh", "--start-from=van-gogh", "-o", "mine.json")
    assert code == 0
    made, pack = read_dossier(tmp_path / "mine.json"), open_knowledge("van-gogh")
    assert (made.target, made.concepts, made.adversarial) == (pack.target, pack.concepts, pack.adversarial)
    assert [ordering.model for ordering in made.orderings] == ["oracle"]
    assert len(chat.requests) == 2
    assert "curated by hand" in output


def test_the_files_of_a_folder_of_questions_that_are_ignored_are_named(tmp_path, capsys):
    (tmp_path / "direct.md").write_text("{{ target }} {{ wanted }}")
    (tmp_path / "rank.txt").write_text("")
    main(["dossier", "build", "Van Gogh", f"--templates={tmp_path}", "--llm=nowhere", f"-o={tmp_path}/x.json"])
    assert f"--templates={tmp_path}: rank.txt is ignored, because it does not end in .md" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["Van Gogh", "--templates=nowhere"], "--templates=nowhere is no folder"),
        (["Van Gogh", "--start-from=monet"], "--start-from=monet is about 'Monet', not 'Van Gogh'"),
        (["Van Gogh", "--start-from=nowhere"], "neither a dossier's file nor a pack"),
        (["Van Gogh", "Monet", "--start-from=monet"], "--start-from=monet goes with one target"),
        (["Van Gogh", "--start-from=van-gogh", "--kind=style"], "exclude each other"),
        (["Van Gogh", "--start-from=atelier-van-gogh", "--base=nowhere"], "nowhere"),
        (["Van Gogh", "van gogh"], "'Van Gogh' and 'van gogh' have the same file van-gogh.json"),
        (["Van Gogh", ""], "the target is empty"),
        (["Van Gogh", "nudity"], "--allow-sensitive"),
        (["Van Gogh", "!!!"], "is no name of a target"),
        (["Van Gogh", "Monet", "-o", "file.json"], "file.json is a file"),
        (
            ["Van Gogh", "Monet", "-o", "both.json"],
            "-o both.json names one file\n  why:  2 targets make 2 dossiers, and a name with .json is a file",
        ),
        (["Van Gogh", "Monet", "-o", "both.json"], "name a folder, such as -o both/"),
        (
            ["Van Gogh", "-o", "file.json/x.json"],
            "cannot write into file.json\n  why:  file.json is a file\n  do:   choose another",
        ),
        (["Van Gogh", "-o", "file.json/new/x.json"], "cannot write into file.json/new\n  why:  file.json is a file\n"),
        (
            ["Van Gogh", "-o", "/proc/x.json"],
            "cannot write into /proc\n  why:  permission denied\n  do:   choose another folder with",
        ),
        (["Van Gogh", "-o", "/proc/new/x.json"], "cannot write into /proc/new\n  why:  permission denied\n"),
        (["Van Gogh", "--vlm=transcript:file.json", "--base=atelier:base", "--policy=bogus"], "bogus"),
        (["Van Gogh", "--llm=http://127.0.0.1:9/v1#x", "--llm=http://127.0.0.1:9/v1#x"], "is given twice"),
    ],
)
def test_bad_input_is_one_error_before_the_first_question(build, chat, tmp_path, arguments, culprit):
    (tmp_path / "file.json").write_text("{}")
    code, _, errors = build(*arguments)
    assert code == 4
    assert culprit in errors
    assert errors.count("ERROR") == 1
    assert chat.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]
