"""Pipelines in memory as models: the digests of their folders, and callers whose pipelines stay as they are."""

from __future__ import annotations

import re
import threading
import types

import families
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, StableDiffusionPipeline
from drawing import draw
from safetensors.torch import save_file

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.models.alignment import align
from dmun_audit.models.fingerprint import modules, settings_of
from dmun_audit.models.in_memory import in_memory_model
from dmun_audit.models.loading import is_atelier_base, load_candidate, load_pipeline
from dmun_audit.models.references import WEIGHTS_FOLDER, parse_reference
from dmun_audit.models.source_files import source_digest
from dmun_audit.plan.case import ImageRequest
from dmun_audit.policy import Sampling
from dmun_audit.render.engine import Engine
from dmun_audit.store.images import ImageStore

pytestmark = pytest.mark.slow

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def opened(folder, dtype="float32"):
    """The pipeline as a user of diffusers opens it."""
    return DiffusionPipeline.from_pretrained(str(folder), dtype=TYPES[dtype])


@pytest.fixture
def pipeline(base_folder):
    return opened(base_folder)


@pytest.fixture
def edited(pipeline):
    with torch.no_grad():
        pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight += 1
    return pipeline


# The same model as its folder.


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_pipeline_has_the_digest_of_the_folder_that_it_came_from(family, tmp_path):
    folder = families.save_family(family, tmp_path / family)
    model = in_memory_model(opened(folder))
    expected = load_pipeline(parse_reference(str(folder))).weights_digest
    assert (model.weights_digest, model.changes) == (expected, ())
    assert load_pipeline(model).weights_digest == expected


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux"])
def test_a_pipeline_that_has_drawn_is_the_same_model(family, tmp_path):
    """A scheduler keeps the steps of its last use, and the libraries leave hooks that only read along."""
    folder = families.save_family(family, tmp_path / family)
    used = opened(folder)
    used(["a"], height=64, width=64, num_inference_steps=2, output_type="np")
    model = in_memory_model(used)
    assert (model.weights_digest, model.changes) == (in_memory_model(opened(folder)).weights_digest, ())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "family", ["sd1", "sd3", "pixart"]
)  # sd3 has parts that stay in float32, pixart a buffer that is not saved
def test_a_pipeline_of_another_type_has_the_digest_of_its_folder_in_that_type(family, dtype, tmp_path):
    folder = families.save_family(family, tmp_path / family)
    expected = load_pipeline(parse_reference(str(folder)), dtype).weights_digest
    model = in_memory_model(opened(folder, dtype))
    assert (model.weights_digest, model.changes) == (expected, ())
    for each in (model, in_memory_model(opened(folder))):
        loaded = load_pipeline(each, dtype)
        assert (loaded.weights_digest, loaded.proof["notes"]) == (expected, [])


def test_its_images_have_the_keys_of_the_folders_images(base_model, pipeline, tmp_path):
    sampling = Sampling(steps=2, guidance="model", batch=2, threads=1, dtype="float32", size=8)
    request = ImageRequest("base", "a b", 0, 1)
    models = base_model, load_pipeline(in_memory_model(pipeline))
    assert len({Engine({"base": model}, sampling, ImageStore(tmp_path)).key(request) for model in models}) == 1


def test_it_draws_what_the_folder_draws(pipeline, base_model):
    model = load_pipeline(in_memory_model(pipeline))
    assert np.array_equal(draw(model.pipeline), draw(base_model.pipeline))
    assert np.allclose(draw(model.pipeline), draw(pipeline), atol=1e-5)  # unaligned weights give other last bits


def test_a_safety_checker_is_left_out(base_folder, pipeline, base_model):
    pipeline.safety_checker = torch.nn.Linear(1, 1)
    pipeline.register_to_config(requires_safety_checker=True)
    assert load_pipeline(in_memory_model(pipeline)).weights_digest == base_model.weights_digest
    assert pipeline.safety_checker is not None


def test_manifest_and_folder_names_have_a_name_for_it(pipeline, base_model):
    model = load_pipeline(in_memory_model(pipeline))
    assert model.reference.text == "pipeline:StableDiffusionPipeline"
    assert model.source_digest == source_digest(model.reference) != base_model.source_digest
    assert model.proof["format"] == "pipeline in memory"
    assert model.proof["matched"] == base_model.proof["matched"]
    assert in_memory_model(pipeline, "mine").reference.text == "pipeline:mine"


def test_other_weights_are_another_source(base_folder, edited):
    assert source_digest(in_memory_model(edited).reference) != source_digest(in_memory_model(opened(base_folder)).reference)


# The caller's pipeline.


def _state(pipeline):
    networks = modules(pipeline)
    tensors = {(part, name): tensor for part, net in networks.items() for name, tensor in net.state_dict(keep_vars=True).items()}
    return (
        {key: (id(tensor), tensor.data_ptr(), tensor.dtype, tensor.requires_grad) for key, tensor in tensors.items()},
        {key: tensor.sum().item() for key, tensor in tensors.items()},
        {part: net.training for part, net in networks.items()},
        {part: id(component) for part, component in pipeline.components.items()},
        dict(pipeline.config),
        getattr(pipeline, "_progress_bar_config", None),
        pipeline.scheduler.num_inference_steps,
        settings_of(pipeline.tokenizer),
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_audit_leaves_the_pipeline_as_it_is(pipeline, edit, tmp_path, dtype):
    pipeline.unet.train()
    pipeline.vae.requires_grad_(False)
    before = _state(pipeline)
    base = load_pipeline(in_memory_model(pipeline), dtype)
    draw(base.pipeline)
    save_file(edit, tmp_path / "uce.safetensors")
    draw(load_candidate(parse_reference(str(tmp_path / "uce.safetensors")), base, dtype).pipeline)
    assert not base.pipeline.unet.training
    assert _state(pipeline) == before


def test_weights_of_the_same_type_are_not_copied(pipeline):
    align(pipeline)
    ours, theirs = (one.unet.state_dict() for one in (load_pipeline(in_memory_model(pipeline)).pipeline, pipeline))
    assert all(ours[name].data_ptr() == theirs[name].data_ptr() for name in theirs)


# Proofs.


def test_a_candidate_is_compared_with_its_base(edited, base_folder, base_model):
    for base in (base_model, base_model.reference, in_memory_model(opened(base_folder))):
        proof = load_candidate(in_memory_model(edited), base).proof
        assert proof["changed_components"] == ["unet"]
        assert [block for block, norm in proof["blocks"].items() if norm] == ["mid_block"]


def test_a_candidate_without_a_difference_is_a_warning(pipeline, base_model):
    proof = load_candidate(in_memory_model(pipeline), base_model).proof
    assert proof["changed_tensors"] == 0
    assert "does not differ from its base" in proof["warnings"][0]


def test_weights_are_laid_over_a_base_in_memory(pipeline, base_model, edit, tmp_path):
    save_file(edit, tmp_path / "uce.safetensors")
    reference = parse_reference(str(tmp_path / "uce.safetensors"))
    expected = load_candidate(reference, base_model)
    for base in (in_memory_model(pipeline), load_pipeline(in_memory_model(pipeline))):
        candidate = load_candidate(reference, base)
        assert (candidate.weights_digest, candidate.proof) == (expected.weights_digest, expected.proof)
        assert np.array_equal(draw(candidate.pipeline), draw(expected.pipeline))


def test_a_number_that_is_none_is_refused(pipeline):
    with torch.no_grad():
        pipeline.unet.conv_in.bias[0] = float("nan")
    with pytest.raises(LoadError, match=r"pipeline:StableDiffusionPipeline: unet: tensor 'conv_in\.bias' holds NaN"):
        load_pipeline(in_memory_model(pipeline))


# What no weight shows.


class OwnScheduler(DDIMScheduler):
    pass


class OwnPipeline(StableDiffusionPipeline):
    pass


def _own_class(pipeline):
    pipeline.__class__ = OwnPipeline


def _own_scheduler(pipeline):
    pipeline.scheduler = OwnScheduler.from_config(pipeline.scheduler.config)


def _other_buffer(pipeline):
    pipeline.text_encoder.embeddings.position_ids = pipeline.text_encoder.embeddings.position_ids.flip(-1)


def _other_forward(pipeline):
    pipeline.unet.conv_in.forward = lambda sample: torch.zeros(len(sample), 8, *sample.shape[2:])


def _forward_in_chunks(pipeline):
    pipeline.unet.mid_block.attentions[0].transformer_blocks[0].set_chunk_feed_forward(1, dim=1)


def _other_attribute(pipeline):
    pipeline.unet.up_blocks[0].resnets[0].output_scale_factor = 2.0


CHANGES = {
    "the unet is not what": lambda pipeline: pipeline.enable_freeu(0.9, 0.2, 1.5, 1.6),
    "'.*processor.*' of module": lambda pipeline: pipeline.enable_attention_slicing(1),
    "the vae is not what": lambda pipeline: pipeline.vae.enable_tiling(),
    "attribute 'config' of module": lambda pipeline: pipeline.text_encoder.set_attn_implementation("eager"),
    "'_chunk_dim' of module": _forward_in_chunks,
    "has hooks": lambda pipeline: pipeline.unet.conv_in.register_forward_hook(lambda layer, inputs, output: output * 2),
    "'forward' of module 'conv_in'": _other_forward,
    "output_scale_factor": _other_attribute,
    "buffer 'embeddings.position_ids'": _other_buffer,
    "OwnPipeline is no pipeline of diffusers": _own_class,
    "replaced method 'encode_prompt'": lambda pipeline: setattr(
        pipeline, "encode_prompt", types.MethodType(StableDiffusionPipeline.encode_prompt, pipeline)
    ),
    "the scheduler is a OwnScheduler": _own_scheduler,
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_a_pipeline_that_is_more_than_configuration_and_weights_shares_no_images(pipeline, sentence):
    CHANGES[sentence](pipeline)
    models = [in_memory_model(pipeline) for _ in range(2)]
    first, second = (load_pipeline(model) for model in models)
    assert first.weights_digest != second.weights_digest
    assert load_pipeline(models[0]).weights_digest == first.weights_digest
    (note,) = first.proof["notes"]
    assert re.search(sentence, note)
    assert note.endswith("its images are used in this audit alone")
    draw(first.pipeline)


def test_what_is_laid_over_such_a_base_shares_no_images_either(pipeline, edit, tmp_path):
    pipeline.enable_freeu(0.9, 0.2, 1.5, 1.6)
    save_file(edit, tmp_path / "uce.safetensors")
    reference = parse_reference(str(tmp_path / "uce.safetensors"))
    digests = {load_candidate(reference, load_pipeline(in_memory_model(pipeline))).weights_digest for _ in range(2)}
    assert len(digests) == 2


# What is refused.


def test_an_adapter_that_is_not_merged_is_refused(pipeline):
    from peft import LoraConfig

    pipeline.unet.add_adapter(LoraConfig(r=1, target_modules=["to_k"]))
    with pytest.raises(LoadError, match=r"(?s)adapters that are not merged into the unet.*fuse_lora"):
        in_memory_model(pipeline)


def test_offloaded_weights_are_refused(pipeline):
    pipeline.vae.to("meta")
    with pytest.raises(LoadError, match=r"(?s)weights of the vae out of memory.*remove_all_hooks"):
        in_memory_model(pipeline)


def test_what_cannot_be_copied_is_refused(pipeline):
    pipeline.unet.lock = threading.Lock()
    with pytest.raises(LoadError, match=r"(?s)cannot be copied.*save_pretrained"):
        in_memory_model(pipeline)


@pytest.mark.parametrize("thing", [1, None, torch.nn.Linear(1, 1), "text"])
def test_anything_else_is_no_model(thing):
    with pytest.raises(UsageError, match="is no model"):
        in_memory_model(thing)


# The world in which it draws.


@pytest.mark.parametrize("dtype", TYPES)
def test_the_base_of_the_atelier_is_known_by_its_digest(dtype):
    assert is_atelier_base(in_memory_model(opened(WEIGHTS_FOLDER / "base", dtype)))


def test_other_pipelines_are_not_the_base_of_the_atelier(pipeline, tmp_path):
    assert not is_atelier_base(in_memory_model(pipeline))
    assert not is_atelier_base(in_memory_model(opened(WEIGHTS_FOLDER / "retrained")))
    assert not is_atelier_base(in_memory_model(opened(families.save_family("sd3", tmp_path / "sd3"))))
