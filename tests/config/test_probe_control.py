"""The control model of probes: the atelier's by itself, never the candidate, and only a complete model."""

import shutil
from dataclasses import replace

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.config.options import Options
from dmun_audit.config.probe_control import find_control
from dmun_audit.knowledge.packs import find_pack
from dmun_audit.models.references import WEIGHTS_FOLDER, parse_reference
from dmun_audit.models.source_files import read_source

DOSSIER = find_pack("Van Gogh", "atelier")
RETRAINED = read_source(parse_reference("atelier:retrained")).digest
OTHER = "0" * 64


def test_the_atelier_names_a_control_for_the_target_that_it_was_trained_without():
    assert find_control(Options(), DOSSIER, OTHER, "atelier").text == "atelier:retrained"
    assert find_control(Options(), find_pack("sunflowers", "atelier"), OTHER, "atelier") is None
    assert find_control(Options(), DOSSIER, OTHER, "real") is None


def test_the_candidate_is_no_control_of_its_own_by_default():
    assert find_control(Options(), DOSSIER, RETRAINED, "atelier") is None


def test_a_copy_of_the_candidate_is_refused_as_its_control(tmp_path):
    shutil.copytree(WEIGHTS_FOLDER / "retrained", tmp_path / "copy")
    copied = read_source(parse_reference(str(tmp_path / "copy"))).digest
    options = replace(Options(), probe_control=str(tmp_path / "copy"))
    with pytest.raises(UsageError, match="is the candidate"):
        find_control(options, DOSSIER, copied, "atelier")
    assert find_control(options, DOSSIER, OTHER, "atelier").path == tmp_path / "copy"


def test_a_weights_file_is_no_control():
    with pytest.raises(UsageError, match="is no complete model"):
        find_control(Options(probe_control=str(WEIGHTS_FOLDER / "noop.safetensors")), DOSSIER, OTHER, "atelier")
