"""`--detector` and `--second-judge` on their way from the command line to every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.config.resolve import AuditConfig, Options, resolve
from dmun_audit.models.references import parse_reference
from dmun_audit.models.source_files import source_digest

ROOT = Path(__file__).parent.parent.parent
ASKED = {"model": "atelier:retrained", "target": "Van Gogh", "policy": "smoke"}


def test_without_them_the_audit_is_the_one_that_it_was():
    setup = resolve(Options(**ASKED))
    sources = {
        side: source_digest(parse_reference(f"atelier:{name}")) for side, name in (("base", "base"), ("candidate", "retrained"))
    }
    assert setup.audit_hash == digest([setup.plan.digest(), sources, "atelier:judge"])
    assert setup.detector is setup.second_judge is None


def test_each_of_them_makes_another_audit_and_reaches_every_worker():
    plain = resolve(Options(**ASKED))
    detecting = resolve(Options(**ASKED, detector="vlm:http://localhost:1/v1#m"))
    agreeing = resolve(Options(**ASKED, second_judge="vlm:http://localhost:1/v1#m"))
    assert len({setup.audit_hash for setup in (plain, detecting, agreeing)}) == 3
    for setup in (plain, detecting, agreeing):
        assert AuditConfig.from_json(setup.to_json()) == setup


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"detector": "classifer:owner/name#nsfw"}, "did you mean classifier:"),
        ({"second_judge": "atelier:judge"}, "would agree with itself"),
        ({"judge": "classifier:owner/name#nsfw"}, "no CLIP model"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(options, words):
    with pytest.raises(LoadError, match=words):
        resolve(Options(**ASKED, **options))


def test_a_slip_on_the_command_line_is_one_error_of_usage():
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--collect-only", "-q"]
    done = subprocess.run(
        [*command, "--detector=classifer:owner/name#nsfw"], cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ
    )
    told = done.stdout + done.stderr
    assert done.returncode == 4
    assert "did you mean classifier:?" in told
    assert "Traceback" not in told
