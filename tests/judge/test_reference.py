"""Which judges can be named, and that a judge is told apart by all that decides what it sees."""

import json
import shutil
from pathlib import Path

import pytest

from dmun_audit.errors import LoadError
from dmun_audit.judge.clip import ClipJudge
from dmun_audit.judge.reference import check_judge, judge_parts
from dmun_audit.references import atelier_judge


@pytest.mark.parametrize("reference", ["ViT-B-32", "open_clip:ViT-B-32", "local-dir:", "hf-hub:", "clip:ViT-B-32/openai"])
def test_a_judge_of_no_known_kind_names_the_kinds(reference):
    with pytest.raises(LoadError, match="of no known kind"):
        check_judge(reference)


def test_a_folder_without_its_configuration_is_named(tmp_path):
    with pytest.raises(LoadError, match=r"no open_clip_config\.json"):
        check_judge(f"local-dir:{tmp_path}")


def test_the_parts_of_a_judge():
    check_judge("atelier:judge")
    assert judge_parts("open_clip:ViT-B-32/laion2b_s34b_b79k") == ("ViT-B-32", "laion2b_s34b_b79k")
    assert judge_parts("hf-hub:owner/name") == ("hf-hub:owner/name", None)


def test_another_preprocessing_is_another_judge(tmp_path):
    copy = shutil.copytree(atelier_judge(), tmp_path / "judge")
    same = ClipJudge(f"local-dir:{copy}").digest
    assert same == ClipJudge(f"local-dir:{atelier_judge()}").digest
    path = Path(copy, "open_clip_config.json")
    config = json.loads(path.read_text())
    config["preprocess_cfg"]["mean"] = [0.1, 0.2, 0.3]
    path.write_text(json.dumps(config))
    assert ClipJudge(f"local-dir:{copy}").digest != same
