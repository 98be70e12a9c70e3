"""SPM, Receler and textual inversion: the same images as the published formulas by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import writers
from drawing import PROMPTS, draw
from safetensors.torch import save_file

from dmun_audit._util.errors import LoadError
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.references import parse_reference

# SPM.


def _by_hand(pipeline, targets, tensors, prompts, scale):
    """The published forward pass, module by module: y = Wx + b + up(m · down(x)) · m · alpha / rank, m of each prompt."""
    strengths = torch.tensor([_strength(pipeline, prompt) for prompt in prompts])

    def patched(module, down, up):
        plain = module.forward

        def forward(x):
            m = strengths.repeat(len(x) // len(prompts)).view(-1, *[1] * (x.dim() - 1))
            if down.dim() == 4:
                return plain(x) + F.conv2d(F.conv2d(x, down, padding=module.padding) * m, up) * m * scale
            return plain(x) + F.linear(F.linear(x, down) * m, up) * m * scale

        return forward

    for name in targets:
        module, stem = pipeline.unet.get_submodule(name), "lora_unet_" + name.replace(".", "_")
        module.forward = patched(module, tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"])


ERASED = ["a b", "c"]


def _strength(pipeline, prompt):
    """Facilitated transport: the larger of cosine and share of common tokens, the largest over the erased prompts."""

    def read(text):
        ids = pipeline.tokenizer(text, padding="max_length", max_length=8, truncation=True, return_tensors="pt").input_ids
        special = {pipeline.tokenizer.bos_token_id, pipeline.tokenizer.eos_token_id, pipeline.tokenizer.pad_token_id}
        return pipeline.text_encoder(ids).last_hidden_state.flatten(), set(ids[0].tolist()) - special

    with torch.inference_mode():
        ours, tokens = read(prompt)
        scores = []
        for erased in ERASED:
            theirs, wanted = read(erased)
            scores += [float(F.cosine_similarity(ours, theirs, dim=0)), len(tokens & wanted) / len(wanted)]
    return max(scores)


def _spm(truth, tmp_path):
    targets = {name: tensor for name, tensor in writers.adapted_modules(truth.unet).items() if "resnets" not in name}
    tensors = writers.kohya(targets, rank=1, alpha=7.0)
    writers.save_spm(tmp_path / "spm.safetensors", tensors, ERASED, 1, 0.8)
    return targets, tensors


def test_an_spm_is_the_published_formula_with_its_strength_by_prompt(truth, loads_as, tmp_path):
    targets, tensors = _spm(truth, tmp_path)
    _by_hand(truth, targets, tensors, PROMPTS, scale=0.8)
    candidate = loads_as(tmp_path / "spm.safetensors", truth)
    assert any("facilitated transport" in note for note in candidate.proof["notes"])
    assert candidate.proof["components"]["unet"]["changed"] == len(targets)


def test_the_strength_of_an_spm_follows_the_prompt(truth, base_model, tmp_path):
    _spm(truth, tmp_path)
    strength = load_candidate(parse_reference(str(tmp_path / "spm.safetensors")), base_model).set_prompts.__self__.strength
    assert strength("a b") == pytest.approx(1)
    assert strength("c d") == 1  # it has the whole of the second concept
    for prompt in ("d", "a d", "b b"):
        assert strength(prompt) == pytest.approx(_strength(base_model.pipeline, prompt), abs=1e-6)
    assert strength("d") < 1


def test_an_spm_loaded_as_a_plain_lora_is_another_model(truth, base_model, tmp_path):
    _, tensors = _spm(truth, tmp_path)
    save_file(tensors, tmp_path / "plain.safetensors")
    spm, plain = (
        load_candidate(parse_reference(str(tmp_path / name)), base_model) for name in ("spm.safetensors", "plain.safetensors")
    )
    assert spm.proof["format"].startswith("SPM")
    assert plain.proof["format"].startswith("LoRA")
    assert any("if this is an SPM" in note for note in plain.proof["notes"])
    assert not np.array_equal(draw(spm.pipeline, set_prompts=spm.set_prompts), draw(plain.pipeline))
    assert spm.weights_digest not in {plain.weights_digest, base_model.weights_digest}


# Receler.


def test_receler_is_its_erasers_behind_the_cross_attentions(truth, loads_as, tmp_path):
    erasers = writers.save_receler(tmp_path / "receler", truth.unet)

    def patched(attention, eraser):
        plain = attention.forward

        def forward(*inputs, **settings):
            seen = plain(*inputs, **settings)
            inner = F.gelu(F.linear(seen, eraser["down.weight"], eraser["down.bias"]))
            return seen + F.linear(inner, eraser["up.weight"], eraser["up.bias"])

        return forward

    for name, eraser in erasers.items():
        attention = truth.unet.get_submodule(name).transformer_blocks[0].attn2
        attention.forward = patched(attention, eraser)
    candidate = loads_as(tmp_path / "receler", truth)
    assert candidate.proof["format"] == f"Receler ({len(erasers)} erasers of rank 3)"
    assert candidate.proof["components"]["unet"]["changed"] == len(erasers)
    assert candidate.proof["matched"] == 4 * len(erasers)


def test_receler_that_was_never_trained_changes_nothing_and_is_refused(truth, base_model, tmp_path):
    writers.save_receler(tmp_path / "receler", truth.unet)
    erasers = torch.load(tmp_path / "receler/eraser_weights.pt")
    for eraser in erasers.values():
        eraser["up.weight"].zero_()
        eraser["up.bias"].zero_()
    torch.save(erasers, tmp_path / "receler/eraser_weights.pt")
    with pytest.raises(LoadError, match="does not differ"):
        load_candidate(parse_reference(str(tmp_path / "receler")), base_model)


# Textual inversion.

TOKEN_FILES = {
    "diffusers": lambda vectors: {"<gogh>": vectors},
    "A1111": lambda vectors: {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "<gogh>", "step": 100},
}


@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("written", TOKEN_FILES)
def test_a_textual_inversion_is_a_new_row_of_the_embedding(truth, base_model, tmp_path, written, vectors):
    rows = torch.randn(vectors, 16, generator=torch.Generator().manual_seed(2))
    torch.save(TOKEN_FILES[written](rows), tmp_path / "learned_embeds.bin")
    words = ["<gogh>", "<gogh>_1"][:vectors]
    truth.tokenizer.add_tokens(words)
    truth.text_encoder.resize_token_embeddings(len(truth.tokenizer), mean_resizing=False)
    with torch.no_grad():
        truth.text_encoder.get_input_embeddings().weight[-vectors:] = rows
    reference = parse_reference(str(tmp_path / "learned_embeds.bin"))
    candidate = load_candidate(reference, base_model)
    prompts = ["a <gogh>", "<gogh> c"]
    images = draw(candidate.pipeline, prompts)
    assert np.array_equal(images, draw(truth, prompts))
    assert not np.array_equal(images, draw(candidate.pipeline, ["a b", "b c"]))
    assert any("<gogh>" in note and "prompts without them" in note for note in candidate.proof["notes"])
    assert candidate.proof["changed_components"] == ["text_encoder"]


def test_the_word_of_an_embedding_without_one_is_the_files_name(base_model, tmp_path):
    save_file({"emb_params": torch.randn(1, 16)}, tmp_path / "easynegative.safetensors")
    candidate = load_candidate(parse_reference(str(tmp_path / "easynegative.safetensors")), base_model)
    assert "easynegative" in candidate.pipeline.tokenizer.get_vocab()


def test_a_word_that_the_base_knows_is_refused(base_model, tmp_path):
    torch.save({"string_to_param": {"*": torch.randn(1, 16)}, "name": "ab</w>"}, tmp_path / "known.pt")
    with pytest.raises(LoadError, match="already knows the word"):
        load_candidate(parse_reference(str(tmp_path / "known.pt")), base_model)
