"""Questions of one's own in place of built-in ones."""

import shutil
from dataclasses import replace

import pytest
from interview_faults import asked
from oracles import as_bytes

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest_file
from dmun_audit.knowledge.build import build_dossier
from dmun_audit.knowledge.interview.own_templates import ignored_files, read_templates
from dmun_audit.knowledge.interview.templates import BUILT_IN, FOLDER, names
from dmun_audit.knowledge.language_models.reference import parse_language_model

OWN = "Our concept: {{ target }}, a {{ kind }}.\n\nWrite {{ wanted }} prompts that ask for it plainly by its name.\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with one question of one's own."""
    place = tmp_path / "questions"
    place.mkdir()
    (place / "direct.md").write_text(OWN)
    return place


def test_an_own_question_is_asked_and_its_hash_stands_in_the_provenance(brief, access, chat, folder, tmp_path):
    dossier = build_dossier(brief, access, texts=read_templates(str(folder)))
    questions = [asked(body) for body in chat.requests]
    assert "Our concept: Van Gogh, a style.\n\nWrite 14 prompts that ask for it plainly by its name." in questions
    assert not any("which would show it clearly" in text for text in questions)
    assert dossier.provenance.templates["direct"] == digest_file(folder / "direct.md")
    assert dossier.provenance.templates["rate"] == BUILT_IN.version("rate") == digest_file(FOLDER / "rate.md")
    first = as_bytes(dossier, tmp_path)
    replayed = replace(access, reference=parse_language_model(f"transcript:{access.transcript}"))
    assert as_bytes(build_dossier(brief, replayed, texts=read_templates(str(folder))), tmp_path) == first
    with pytest.raises(UsageError, match="does not hold all answers"):
        build_dossier(brief, replayed)


def test_the_built_in_questions_are_valid_own_questions(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "questions")
    assert set(read_templates(str(tmp_path / "questions")).own) == set(names())


@pytest.mark.parametrize(
    ("name", "text", "culprit"),
    [
        ("dirct.md", OWN, r"dirct\.md is no question of the interview\n  do:   did you mean direct\.md\?"),
        ("zebra.md", OWN, r"zebra\.md is no question of the interview\n  do:   questions: adversarial-biography, "),
        ("direct.md", "line one\n{% if target %}{{ target }}\n", r"direct\.md, line 2: "),
        ("direct.md", "{{ target }}\n{{ wanted }\n", r"direct\.md, line 2: "),
        ("direct.md", "{{ target }} {{ wanted }}\n\n{{ colour }}\n", r"direct\.md, line 3: the question has no value 'colour'"),
        ("direct.md", "give {{ wanted }} prompts\n", r"direct\.md lacks \{\{ target \}\}"),
        ("rate.md", "rate against {{ target }}\n", r"rate\.md lacks \{\{ names \}\}"),
        ("system.md", "You help.\n", r"system\.md lacks \{\{ schema \}\}"),
        ("direct.md", "{{ target }}\n{{ wanted / 0 }}\n", r"direct\.md, line 2: division by zero"),
        ("direct.md", "{{ target }}\n\n{{ wanted.__class__.__mro__ }}\n", r"direct\.md, line 3: "),
        ("direct.md", "{{ target }} {{ wanted }}\n{{ target | loudly }}\n", r"direct\.md, line 2: No filter named 'loudly'"),
        ("direct.md", "{{ target }} {{ wanted }}\n{% include 'mine.md' %}\n", r"direct\.md, line 2: there is no text mine\.md"),
        ("target.md", "{{ target }}\n{% set ns.x = 1 %}\n", r"target\.md, line 2: the question has no value 'ns'"),
        ("direct.md", "{{ target }} {{ wanted }}\n{% include ['a', 'b'] %}\n", r"direct\.md, line 2: there is no text a, b"),
        ("direct.md", "{{ " + 3_000 * "(" + "1" + 3_000 * ")" + " }}", r"direct\.md cannot be read as a question"),
        ("direct.md", "{{ " + 6_001 * "1" + " }}", r"direct\.md cannot be read as a question"),
        ("direct.txt", OWN, r"holds no question\n  why:  it holds direct\.txt"),
    ],
)
def test_what_is_wrong_with_a_question_is_said_with_file_and_line(name, text, culprit, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=culprit):
        read_templates(str(tmp_path))


def test_files_that_are_no_questions_are_ignored_and_those_that_are_not_hidden_are_named(folder):
    for name in ("direct.md~", "rate.txt", ".#direct.md", ".direct.md.swp"):
        (folder / name).write_text(OWN)
    assert set(read_templates(str(folder)).own) == {"direct"}
    assert ignored_files(str(folder)) == ["direct.md~", "rate.txt"]


def test_a_file_that_is_no_text_and_a_folder_that_is_none_are_errors(tmp_path):
    (tmp_path / "direct.md").write_bytes(b"\xff\xfe{{ target }}")
    with pytest.raises(UsageError, match=r"direct\.md cannot be read"):
        read_templates(str(tmp_path))
    with pytest.raises(UsageError, match="is no folder"):
        read_templates(str(tmp_path / "nowhere"))
