"""The model's own tokenizer and text encoder decide how long a prompt may be."""

import json
import shutil
from pathlib import Path

import pytest

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.lengths import clip_counter, counter_of
from dmun_audit.models.references import parse_reference

BASE = Path(__file__).parents[2] / "dmun_audit" / "atelier" / "weights" / "base"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(BASE, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))


def _set(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_clip_reads_77_tokens_with_start_and_end():
    counter = clip_counter()
    assert counter.count("a photo of a cat") == 7
    assert not counter.too_long(" ".join(["cat"] * 75))
    assert counter.too_long(" ".join(["cat"] * 76))


def test_a_folders_own_tokenizer_counts(folder):
    counter = counter_of(parse_reference(str(folder)))
    assert counter.limit == 48
    assert counter.too_long("van gogh " * 48)
    assert counter.count("a house by van gogh") < clip_counter().count("a house by van gogh, entirely otherwise")


def test_where_the_tokenizer_has_no_limit_the_text_encoder_has(folder):
    _set(folder / "tokenizer" / "tokenizer_config.json", model_max_length=1000000000000000019884624838656)
    assert counter_of(parse_reference(str(folder))).limit == 48
    _set(folder / "text_encoder" / "config.json", max_position_embeddings=20)
    assert counter_of(parse_reference(str(folder))).limit == 20


def test_a_broken_tokenizer_is_named(folder):
    (folder / "tokenizer" / "tokenizer_config.json").write_text("{")
    with pytest.raises(UsageError, match=r"tokenizer in .* cannot be read"):
        counter_of(parse_reference(str(folder)))
