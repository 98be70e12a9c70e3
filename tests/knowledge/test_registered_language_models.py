"""Language models of other packages: installed through real entry points, opened by name, and held to the protocol."""

import json
import sys

import numpy as np
import pytest
from installed_packages import install

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.cli import main
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import (
    names_language_model,
    open_language_model,
    parse_language_model,
)
from dmun_audit.knowledge.language_models.registered import GROUP
from dmun_audit.knowledge.reading import read_dossier

ORACLE = """
    import json
    from oracles import Oracle, atelier_knowledge
    from dmun_audit._util.errors import UsageError
    from dmun_audit.knowledge.language_models.protocol import Answer
    from dmun_audit.knowledge.packs import open_knowledge

    opened = []

    class OracleModel:
        backend = "oracle package"

        def __init__(self, reference, settings):
            opened.append((reference, settings))
            self.model = reference
            self.unsupported_parameters = ["The oracle ignores the seed."]
            self.oracle = Oracle(atelier_knowledge() if reference == "atelier" else open_knowledge(reference))

        def ask(self, questions):
            for index, question in reversed(list(enumerate(questions))):
                if set(question.schema["properties"]) == {"answer"}:
                    yield index, Answer('{"answer": "yes"}', 1, 1)
                else:
                    messages = [{"role": turn.role, "content": turn.text} for turn in question.messages]
                    yield index, Answer(self.oracle({"messages": messages}), 10, 5)

        def release(self):
            pass
"""


@pytest.fixture
def register(tmp_path, monkeypatch):
    """A function that installs a package with one language model."""

    def register(source, name="oracle", package="oracle_models", target="OracleModel"):
        install(tmp_path / "packages", monkeypatch, package, source, {GROUP: {name: target}})

    return register


def _open(text):
    return open_language_model(parse_language_model(text), Settings())


def test_llm_names_a_registered_language_model(register, tmp_path, monkeypatch, capsys):
    register(ORACLE)
    monkeypatch.chdir(tmp_path)
    command = ["dossier", "build", "Van Gogh", "--llm=oracle:van-gogh", "-o", "made.json", "--repeats=1", "--timeout=7"]
    assert main(command) == 0, capsys.readouterr().err
    facts = read_dossier(tmp_path / "made.json").provenance
    assert (facts.backend, facts.model, facts.tokens_in) == ("oracle package", "van-gogh", 10 * facts.questions)
    assert "The oracle ignores the seed." in facts.history
    assert sys.modules["oracle_models"].opened == [("van-gogh", Settings(timeout=7.0))]
    monkeypatch.delitem(sys.modules, "oracle_models")
    assert main([*command, "--force"]) == 0
    replayed = [*command, "--force", "--llm=transcript:made.transcript.jsonl"]
    assert main(replayed) == 0
    assert read_dossier(tmp_path / "made.json").provenance == facts


def test_knowledge_names_a_registered_language_model(register, tmp_path):
    register(ORACLE)
    options = Options(model="atelier:uce-van-gogh", knowledge="oracle:atelier", policy="smoke", store=str(tmp_path / "store"))
    dossier = resolve(options).dossier
    assert (dossier.provenance.backend, dossier.target.name) == ("oracle package", "Van Gogh")
    assert resolve(options).dossier == dossier
    assert len(sys.modules["oracle_models"].opened) == 1


def test_a_vlm_detector_names_a_registered_language_model(register, tmp_path):
    from dmun_audit.judge.kinds import parse_judge
    from dmun_audit.judge.vlm import VlmNetwork
    from dmun_audit.knowledge.packs import open_knowledge

    register(ORACLE)
    reference = parse_judge("vlm:oracle:van-gogh")
    detector = VlmNetwork(reference).detector(reference, open_knowledge("van-gogh").target)
    assert detector.target_scores([np.zeros((8, 8, 3), np.uint8)]).tolist() == [1.0]


def test_a_language_model_may_lack_or_have_what_built_in_ones_have(register, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["dossier", "build", "Van Gogh", "--llm=oracle:van-gogh", "-o", "made.json", "--repeats=1"]
    own = (
        ORACLE
        + """
        endpoint = "an attribute of its own"

        def load(self):
            opened.append("loaded")
    """
    )
    register(own)
    assert main(command) == 0, capsys.readouterr().err
    assert sys.modules["oracle_models"].opened[1:] == ["loaded"]


def test_parsing_does_not_import_the_package(register):
    register("raise RuntimeError('imported')")
    reference = parse_language_model("oracle:any text, even with # and :")
    assert (reference.kind, reference.place) == ("oracle", "any text, even with # and :")
    assert names_language_model("oracle:van-gogh")
    with pytest.raises(LoadError, match=r"cannot be imported[\s\S]*RuntimeError: imported"):
        _open("oracle:van-gogh")


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("orcle:van-gogh", "did you mean oracle:van-gogh?"),
        ("oracle:", "did you mean oracle:…?"),
        ("transfomers:folder", "did you mean transformers:folder?"),
        ("htps://host/v1#m", "did you mean https://host/v1#m?"),
        ("oracle:van-gogh ", None),
        ("something:else", "(installed: oracle)"),
    ],
)
def test_an_unknown_kind_is_one_clear_error(register, text, guess):
    register(ORACLE)
    if guess is None:
        assert parse_language_model(text).kind == "oracle"
        return
    with pytest.raises(UsageError, match="names no language model") as caught:
        parse_language_model(text)
    assert guess in str(caught.value)
    assert ("transformers:PATH-OR-ID" in str(caught.value)) == ("did you mean" not in guess)


def test_a_mistyped_kind_in_knowledge_is_guessed_too(register, capsys):
    register(ORACLE)
    assert not names_language_model("orcle:van-gogh")
    assert main(["dossier", "show", "orcle:van-gogh"]) == 4
    assert "did you mean oracle:van-gogh? packs: " in capsys.readouterr().err


def test_a_registered_name_does_not_replace_a_built_in_kind(register):
    register(ORACLE, name="http")
    assert type(_open("http://127.0.0.1:9/v1#m")).__name__ == "ChatCompletions"


def test_two_packages_of_one_name_are_refused(register):
    register(ORACLE)
    register(ORACLE, package="other_models")
    with pytest.raises(UsageError, match="two packages register 'oracle'"):
        parse_language_model("oracle:van-gogh")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("OracleModel = 5", "names nothing that can be called"),
        ("def OracleModel(reference, settings): return object()", "without backend, model, unsupported_parameters, ask, release"),
        ("def OracleModel(reference, settings): raise KeyError('no such model')", r"cannot be opened[\s\S]*KeyError"),
        ("def OracleModel(reference): pass", r"cannot be opened[\s\S]*TypeError"),
    ],
)
def test_a_package_that_breaks_the_protocol_is_named(register, source, message):
    register(source)
    with pytest.raises(LoadError, match=message) as caught:
        _open("oracle:van-gogh")
    assert "oracle_models:OracleModel" in str(caught.value)


def test_an_error_of_the_package_for_its_users_passes_unchanged(register):
    register(
        """
        from dmun_audit._util.errors import UsageError

        def OracleModel(reference, settings):
            raise UsageError("the oracle is closed", "it is Sunday", "come back on Monday")
        """
    )
    with pytest.raises(UsageError, match="the oracle is closed"):
        _open("oracle:van-gogh")


def test_a_model_that_leaves_questions_unanswered_is_one_clear_error(register, tmp_path, monkeypatch, capsys):
    register(ORACLE.replace("reversed(list(enumerate(questions)))", "enumerate(questions[:5])"))
    monkeypatch.chdir(tmp_path)
    assert main(["dossier", "build", "Van Gogh", "--llm=oracle:van-gogh"]) == 4
    message = capsys.readouterr().err
    assert "'van-gogh' left 4 of 9 questions without an answer" in message
    lines = [json.loads(line) for line in (tmp_path / "van-gogh.transcript.jsonl").read_text().splitlines()]
    assert sum("seconds" in line for line in lines) == 1  # the preflight
    assert sum("tokens_out" in line and "seconds" not in line for line in lines) in (1 + 5, 2 + 5)  # what it is, its names, five
    assert sum("conceded" in line for line in lines) == 1
