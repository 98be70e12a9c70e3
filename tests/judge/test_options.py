"""`--detector` and `--second-judge`, from the command line to every process."""

import sys
from pathlib import Path

import processes
import pytest

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.models.references import parse_reference
from dmun_audit.models.source_files import source_digest

ROOT = Path(__file__).parent.parent.parent
OPTIONS = {"model": "atelier:retrained", "target": "Van Gogh", "policy": "smoke"}


def test_without_them_the_audit_hash_is_unchanged():
    setup = resolve(Options(**OPTIONS))
    sources = {
        side: source_digest(parse_reference(f"atelier:{name}")) for side, name in (("base", "base"), ("candidate", "retrained"))
    }
    assert setup.audit_hash == digest([setup.plan.digest(), sources, "atelier:judge"])
    assert setup.detector is setup.second_judge is None


def test_each_of_them_makes_another_audit_and_reaches_every_worker():
    plain = resolve(Options(**OPTIONS))
    detecting = resolve(Options(**OPTIONS, detector="vlm:http://localhost:1/v1#m"))
    agreeing = resolve(Options(**OPTIONS, second_judge="vlm:http://localhost:1/v1#m"))
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
def test_a_wrong_reference_is_refused_before_anything_is_loaded(options, words):
    with pytest.raises(LoadError, match=words):
        resolve(Options(**OPTIONS, **options))


def test_a_misspelt_kind_on_the_command_line_is_one_usage_error():
    command = [sys.executable, "-m", "pytest", "audits/", "-p", "no:cacheprovider", "--collect-only", "-q"]
    done = processes.run([*command, "--detector=classifer:owner/name#nsfw"], cwd=ROOT, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == 4
    assert "did you mean classifier:?" in output
    assert "Traceback" not in output
