"""A candidate shares the weights of its loaded base that it does not change, and never writes into them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import writers
from drawing import draw
from safetensors.torch import load_file, save_file

from dmun_audit.models.fingerprint import digests, modules, weights_digest
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.references import parse_reference

pytestmark = pytest.mark.slow


def _reference(path):
    return parse_reference(str(path))


def _kohya(pipeline, path):
    save_file(writers.kohya(writers.adapted_modules(pipeline.unet), rank=2, alpha=2.0), path)


def _spm(pipeline, path):
    places = {name: tensor for name, tensor in writers.adapted_modules(pipeline.unet).items() if "resnets" not in name}
    writers.save_spm(path, writers.kohya(places, rank=1, alpha=7.0), ["a b", "c"], 1, 0.8)


def _new_word(pipeline, path):
    save_file({"emb_params": torch.randn(1, 16)}, path)


def _every_tensor(pipeline, path):
    save_file({name: tensor * 1.5 for name, tensor in pipeline.unet.state_dict().items()}, path)


FILES = {"LoRA": _kohya, "SPM": _spm, "textual inversion": _new_word, "full UNet": _every_tensor}


def _addresses(pipeline):
    return {
        (part, name): tensor.data_ptr()
        for part, network in modules(pipeline).items()
        for name, tensor in network.state_dict().items()
    }


def _is_the_base_but_for(candidate, base, edit):
    ours, theirs = _addresses(candidate.pipeline), _addresses(base.pipeline)
    assert {name for name in ours if ours[name] != theirs[name]} == {("unet", name) for name in edit}


def _is_what_it_is_alone(shared, alone):
    assert (shared.tensors_digest, shared.weights_digest) == (alone.tensors_digest, alone.weights_digest)
    assert (shared.tensors_digest, shared.weights_digest) == digests(shared.pipeline)
    assert (shared.proof, shared.probe.facts) == (alone.proof, alone.probe.facts)
    assert np.array_equal(draw(shared.pipeline), draw(alone.pipeline))


def test_only_changed_tensors_take_memory_and_the_digests_are_those_of_a_load_from_files(base_folder, base_model, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    shared = load_candidate(_reference(tmp_path / "uce.safetensors"), base_model)
    alone = load_candidate(_reference(tmp_path / "uce.safetensors"), _reference(base_folder))
    _is_the_base_but_for(shared, base_model, edit)
    _is_what_it_is_alone(shared, alone)


def test_a_complete_candidate_shares_every_tensor_that_equals_the_bases(base_model, copied, edit):
    path = copied / "unet/diffusion_pytorch_model.safetensors"
    save_file(load_file(path) | edit, path, metadata={"format": "pt"})
    before, probed = draw(base_model.pipeline), base_model.probe.facts
    shared = load_candidate(_reference(copied), base_model)
    alone = load_candidate(_reference(copied), base_model.reference)
    _is_the_base_but_for(shared, base_model, edit)
    _is_what_it_is_alone(shared, alone)
    assert weights_digest(base_model.pipeline) == base_model.weights_digest
    assert np.array_equal(draw(base_model.pipeline), before)
    assert base_model.probe.facts == probed


def test_a_rounded_tensor_is_shared_only_where_rounding_changed_no_number(base_model, copied):
    path = copied / "unet/diffusion_pytorch_model.safetensors"
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()}
    save_file(halves, path, metadata={"format": "pt"})
    candidate = load_candidate(_reference(copied), base_model)
    assert weights_digest(candidate.pipeline) == candidate.weights_digest != base_model.weights_digest
    exact = {name for name, half in halves.items() if torch.equal(half.float(), base_model.pipeline.unet.state_dict()[name])}
    ours, theirs = _addresses(candidate.pipeline), _addresses(base_model.pipeline)
    assert {name for part, name in ours if part == "unet" and ours[part, name] == theirs[part, name]} == exact


@pytest.mark.parametrize("kind", FILES)
def test_no_file_changes_the_loaded_base(kind, base_model, tmp_path):
    before = draw(base_model.pipeline)
    words = base_model.pipeline.tokenizer.get_vocab()
    FILES[kind](base_model.pipeline, tmp_path / "edit.safetensors")
    candidate = load_candidate(_reference(tmp_path / "edit.safetensors"), base_model)
    draw(candidate.pipeline, set_prompts=candidate.set_prompts)
    assert candidate.weights_digest != base_model.weights_digest
    assert weights_digest(base_model.pipeline) == base_model.weights_digest
    assert base_model.pipeline.tokenizer.get_vocab() == words
    assert np.array_equal(draw(base_model.pipeline), before)


def test_a_new_word_in_a_free_row_of_the_table_is_not_the_bases(copied, tmp_path):
    """Where the table of embeddings has more rows than the tokenizer has words, the library writes into the table as it is."""
    path, settings = copied / "text_encoder/model.safetensors", copied / "text_encoder/config.json"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("token_embedding.weight"))
    save_file(tensors | {name: torch.cat([tensors[name], torch.ones(1, 16)])}, path, metadata={"format": "pt"})
    config = json.loads(settings.read_text())
    settings.write_text(json.dumps(config | {"vocab_size": config["vocab_size"] + 1}))
    base = load_pipeline(_reference(copied))
    save_file({"emb_params": torch.full((1, 16), 2.0)}, tmp_path / "word.safetensors")
    candidate = load_candidate(_reference(tmp_path / "word.safetensors"), base)
    rows = [model.pipeline.text_encoder.get_input_embeddings().weight[-1] for model in (base, candidate)]
    assert [float(row.mean()) for row in rows] == [1.0, 2.0]
    assert weights_digest(base.pipeline) == base.weights_digest


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_found_in_every_type(number, dtype):
    from dmun_audit._util.errors import LoadError
    from dmun_audit.models.fingerprint import require_finite

    tensor = torch.zeros(3, 5, dtype=dtype)
    require_finite("here", {"sound": tensor, "empty": torch.zeros(0), "whole": torch.ones(2, dtype=torch.int64)})
    tensor[2, 1] = number
    with pytest.raises(LoadError, match="NaN" if number != number else "infinite"):
        require_finite("here", {"weight": tensor})
