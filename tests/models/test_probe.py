"""The probe of every load: the same digest of weights must mean the same output, whatever family and whatever code."""

from __future__ import annotations

import dataclasses

import families
import numpy as np
import pytest
import torch
import writers
from diffusers import DiffusionPipeline
from drawing import draw
from PIL import Image

from dmun_audit._util.errors import LoadError
from dmun_audit.models import probe as probing
from dmun_audit.models.in_memory import in_memory_model
from dmun_audit.models.loading import load_candidate, load_pipeline
from dmun_audit.models.probe import confirm_probe, take_probe
from dmun_audit.models.references import parse_reference
from dmun_audit.store import environment
from dmun_audit.store.probes import ProbeStore

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_has_a_probe_that_repeats_to_the_bit_and_notes_an_edit(family, tmp_path):
    folder = families.save_family(family, tmp_path / family)
    base, again = (load_pipeline(parse_reference(str(folder))) for _ in range(2))
    assert np.array_equal(base.probe.numbers, again.probe.numbers)
    assert base.proof["probe"] == again.proof["probe"]
    assert base.proof["probe"]["device"] == "cpu"
    assert np.isfinite(base.probe.numbers).all()
    assert base.probe.numbers.std() > 0
    edited = load_candidate(parse_reference(str(families.save_edited(family, folder, tmp_path / "edited"))), base)
    assert not np.array_equal(edited.probe.numbers, base.probe.numbers)
    assert edited.proof["probe"]["digest"] != base.proof["probe"]["digest"]


def _attention(pipeline):
    from diffusers.models.attention_processor import AttnProcessor

    class Half(AttnProcessor):
        def __call__(self, *arguments, **settings):
            return super().__call__(*arguments, **settings) * 0.5

    pipeline.unet.set_attn_processor(Half())


def _forward(pipeline):
    before = pipeline.unet.forward
    pipeline.unet.forward = lambda *arguments, **settings: tuple(part * 2 for part in before(*arguments, **settings))


def _method(pipeline):
    before = pipeline.encode_prompt
    pipeline.encode_prompt = lambda prompt, *arguments, **settings: before(["b a"], *arguments, **settings)


CHANGES = {
    "a processor": _attention,
    "a replaced forward": _forward,
    "a hook of the denoiser": lambda pipeline: pipeline.unet.mid_block.register_forward_hook(lambda m, i, output: output * 1.5),
    "a hook of the decoder": lambda pipeline: pipeline.vae.decoder.register_forward_hook(lambda m, i, output: output + 0.1),
    "a hook of the text encoder": lambda pipeline: pipeline.text_encoder.register_forward_hook(
        lambda m, i, output: type(output)(last_hidden_state=output[0] * 2)
    ),
    "a replaced method of the pipeline": _method,
    "a scheduler of other numbers": lambda pipeline: setattr(
        pipeline.scheduler, "alphas_cumprod", pipeline.scheduler.alphas_cumprod**2
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_notes_whatever_acts_while_images_are_made(change, base_folder, base_model):
    pipeline = load_pipeline(parse_reference(str(base_folder))).pipeline
    CHANGES[change](pipeline)
    assert not np.array_equal(take_probe(pipeline, "cpu").numbers, base_model.probe.numbers)


def test_it_notes_adapters(base_model, truth, tmp_path):
    """SPM follows the prompts, and Receler stands behind the attention; neither changes a weight."""
    writers.save_receler(tmp_path / "receler", truth.unet)
    modules = writers.adapted_modules(truth.unet)
    writers.save_spm(tmp_path / "spm.safetensors", writers.kohya(modules, rank=1), ["a b", "c"], 1, 0.8)
    for name in ("receler", "spm.safetensors"):
        adapted = load_candidate(parse_reference(str(tmp_path / name)), base_model)
        assert not np.array_equal(adapted.probe.numbers, base_model.probe.numbers)


def test_it_leaves_the_model_as_it_is(base_folder):
    model = load_pipeline(parse_reference(str(base_folder)))
    before = (model.pipeline.scheduler.num_inference_steps, len(model.pipeline.unet._forward_hooks), dict(model.pipeline.config))
    drawn = draw(model.pipeline)
    take_probe(model.pipeline, "cpu")
    after = (model.pipeline.scheduler.num_inference_steps, len(model.pipeline.unet._forward_hooks), dict(model.pipeline.config))
    assert before[1:] == after[1:]
    assert np.array_equal(draw(model.pipeline), drawn)


def test_another_memory_format_gives_the_same_bits(base_folder, base_model):
    pipeline = DiffusionPipeline.from_pretrained(str(base_folder))
    pipeline.unet.to(memory_format=torch.channels_last)
    model = load_pipeline(in_memory_model(pipeline))
    assert model.weights_digest == base_model.weights_digest
    assert np.array_equal(model.probe.numbers, base_model.probe.numbers)
    assert pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


# The same digest, another output.


def changed(model):
    return dataclasses.replace(model, probe=probing.Probe(model.probe.numbers * np.float32(1 + 1e-6), "cpu"))


def test_the_same_digest_with_another_output_is_refused(base_model, tmp_path):
    confirm_probe(base_model, tmp_path, "cpu")
    confirm_probe(base_model, tmp_path, "cpu")
    with pytest.raises(LoadError) as caught:
        confirm_probe(changed(base_model), tmp_path, "cpu")
    assert "computes something else than the model that had the same weights digest" in str(caught.value)
    assert base_model.weights_digest[:16] in str(caught.value)
    assert "--store" in str(caught.value)


def test_an_audit_refuses_it(base_folder, tmp_path):
    from dmun_audit.policy import load_policy
    from dmun_audit.runtime.loading import base_engine

    reference, sampling = parse_reference(str(base_folder)), load_policy("smoke").sampling
    base_engine(reference, dataclasses.replace(sampling, size=8), tmp_path)
    (file,) = (tmp_path / "probes").rglob("*.f32")
    model, written = load_pipeline(reference), file.read_bytes()
    file.unlink()
    names = environment.rendering_environment("cpu") | {"threads": str(torch.get_num_threads())}
    ProbeStore(tmp_path).first(model.weights_digest, names, model.probe.numbers + 1)  # as another model would have left it
    assert file.read_bytes() != written
    with pytest.raises(LoadError, match="same weights digest"):
        base_engine(reference, dataclasses.replace(sampling, size=8), tmp_path)


def test_other_software_has_probes_of_its_own(base_model, tmp_path, monkeypatch):
    confirm_probe(base_model, tmp_path, "cpu")
    monkeypatch.setattr(environment, "version", lambda package: "another")
    confirm_probe(changed(base_model), tmp_path, "cpu")


def test_a_damaged_probe_is_replaced_and_logged(base_model, tmp_path, caplog):
    confirm_probe(base_model, tmp_path, "cpu")
    (file,) = tmp_path.rglob("*.f32")
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + b"\0\0\0\1")
    confirm_probe(base_model, tmp_path, "cpu")
    assert file.read_bytes() == whole
    assert "does not hold the probe" in caplog.text


@pytest.mark.parametrize(("factor", "same"), [(1.001, True), (1.1, False)])
def test_on_a_gpu_two_probes_may_differ_by_rounding(base_model, factor, same):
    numbers = base_model.probe.numbers
    assert probing._same(numbers, numbers * np.float32(factor), exactly=False) is same
    assert not probing._same(numbers, numbers[:-1], exactly=False)
    assert probing._same(np.array([np.nan, 1.0], np.float32), np.array([np.nan, 1.0], np.float32), exactly=True)


# Models without a probe.


def test_images_made_elsewhere_have_none_and_the_proof_says_so(base_model, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "prompt": "a", "seed": 1}')
    model = load_candidate(parse_reference(f"images:{tmp_path}"), base_model)
    assert model.probe is None
    assert model.proof["probe"] == {"digest": None, "why": "no model was seen, only images"}
    confirm_probe(model, tmp_path, "cpu")


def test_a_pipeline_that_cannot_be_run_is_a_warning(base_folder, monkeypatch):
    monkeypatch.setattr(probing, "SIDE", 65)  # no multiple of 8
    model = load_pipeline(parse_reference(str(base_folder)))
    assert model.probe is None
    assert "divisible by 8" in model.proof["probe"]["why"]
    assert any("no probe confirms it" in warning for warning in model.proof["warnings"])
