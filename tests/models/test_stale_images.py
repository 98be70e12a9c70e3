"""What a Python function returns is drawn anew in each session, unless weights and configuration alone decide what it draws."""

from __future__ import annotations

import re
import sys

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from drawing import draw

from dmun_audit._util.errors import LoadError
from dmun_audit.models.library_code import replaced_code
from dmun_audit.models.loading import load_candidate
from dmun_audit.models.probe import confirm_probe
from dmun_audit.models.references import parse_reference

pytestmark = pytest.mark.slow

HELPER = """
from diffusers.models.attention_processor import AttnProcessor2_0

class Scaled(AttnProcessor2_0):
    def __call__(self, *arguments, **settings):
        return super().__call__(*arguments, **settings) * float(open("factor").read())
"""
FUNCTIONS = """
import functools
import types
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

def factor():
    return float(open("factor").read())

class OwnProcessor(AttnProcessor2_0):
    def __call__(self, *arguments, **settings):
        return super().__call__(*arguments, **settings) * factor()

def processor(pipeline):
    pipeline.unet.set_attn_processor(OwnProcessor())
    return pipeline

def imported_file(pipeline):
    from our_helper import Scaled
    pipeline.unet.set_attn_processor(Scaled())
    return pipeline

class OwnUNet(UNet2DConditionModel):
    def forward(self, sample, *arguments, **settings):
        return super().forward(sample * factor(), *arguments, **settings)

def class_override(pipeline):
    pipeline.unet.__class__ = OwnUNet
    return pipeline

def class_patched(pipeline):
    before = Attention.forward
    @functools.wraps(before)
    def forward(self, *arguments, **settings):
        return before(self, *arguments, **settings) * factor()
    Attention.forward = forward
    return pipeline

def decorated_patch(pipeline):
    before = AttnProcessor2_0.__call__
    @torch.no_grad()
    def call(self, *arguments, **settings):
        return before(self, *arguments, **settings) * factor()
    AttnProcessor2_0.__call__ = call
    return pipeline

def module_patched(pipeline):
    before = F.silu
    F.silu = lambda *arguments, **settings: before(*arguments, **settings) * factor()
    return pipeline

def forward_replaced(pipeline):
    before = pipeline.unet.conv_in.forward
    pipeline.unet.conv_in.forward = lambda sample: before(sample) * factor()
    return pipeline

def of_all_modules(pipeline):
    def scale(module, inputs, output):
        return output * factor() if module is pipeline.unet.conv_in else output
    torch.nn.modules.module.register_module_forward_hook(scale)
    return pipeline

def scheduler_step(pipeline):
    before = pipeline.scheduler.step
    def step(noise, *arguments, **settings):
        return before(noise * factor(), *arguments, **settings)
    pipeline.scheduler.step = step
    return pipeline

def scheduler_numbers(pipeline):
    pipeline.scheduler.alphas_cumprod = pipeline.scheduler.alphas_cumprod ** factor()
    return pipeline

def image_processor(pipeline):
    before = pipeline.image_processor.postprocess
    def postprocess(image, **settings):
        return before(image * factor(), **settings)
    pipeline.image_processor.postprocess = postprocess
    return pipeline

def weights(pipeline):
    with torch.no_grad():
        pipeline.unet.conv_in.weight *= factor()
    return pipeline

def other_scheduler(pipeline):
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, steps_offset=int(factor()))
    return pipeline

def named(pipeline):
    return processor(pipeline)

named.fingerprint = "version 1"

def named_pipeline(pipeline):
    pipeline = processor(pipeline)
    pipeline.fingerprint = open("version").read()
    return pipeline
"""
UNSEEN = {
    "processor": "OwnProcessor|attribute 'processor'",
    "imported_file": "attribute 'processor'",
    "class_override": "OwnUNet",
    "class_patched": "Attention.forward was replaced by code in .*our_functions.py",
    "decorated_patch": "AttnProcessor2_0.__call__ was replaced by code in .*our_functions.py",
    "module_patched": "torch.nn.functional.silu was replaced by code in .*our_functions.py",
    "forward_replaced": "'forward' of module 'conv_in'",
    "of_all_modules": "hooks are registered for all modules",
    "scheduler_step": "the scheduler has a replaced method 'step'",
    "scheduler_numbers": "the scheduler has other numbers in 'alphas_cumprod'",
    "image_processor": "the image_processor has a replaced method 'postprocess'",
}


@pytest.fixture
def in_session(base_model, tmp_path, monkeypatch):
    """The model of a function as a test run of that mark loads it, with this factor in a file that the code reads."""
    (tmp_path / "our_functions.py").write_text(FUNCTIONS)
    (tmp_path / "our_helper.py").write_text(HELPER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for place, name in ((Attention, "forward"), (AttnProcessor2_0, "__call__"), (torch.nn.functional, "silu")):
        monkeypatch.setattr(place, name, vars(place)[name])  # what a function replaces comes back after the test
    for name in ("our_functions", "our_helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def load(name, session, factor=1.0):
        (tmp_path / "factor").write_text(str(factor))
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", session)
        try:
            return load_candidate(parse_reference(f"our_functions:{name}"), base_model)
        finally:
            torch.nn.modules.module._global_forward_hooks.clear()

    return load


@pytest.mark.parametrize("name", UNSEEN)
def test_a_pipeline_whose_behaviour_may_change_shares_no_images_with_another_session(in_session, name):
    one = in_session(name, "one", 0.9)
    (note,) = [note for note in one.proof["notes"] if "drawn again in each session" in note]
    assert re.search(UNSEEN[name], note)
    assert one.weights_digest != in_session(name, "another", 0.5).weights_digest


@pytest.mark.parametrize("name", ["weights", "other_scheduler"])
def test_what_weights_and_configuration_decide_keeps_its_images(in_session, name):
    first = in_session(name, "one", 2.0)
    assert in_session(name, "another", 2.0).weights_digest == first.weights_digest
    assert in_session(name, "another", 3.0).weights_digest != first.weights_digest
    assert not any("each session" in note for note in first.proof["notes"])


def test_a_fingerprint_of_the_function_keeps_its_images(in_session):
    assert in_session("named", "one").weights_digest == in_session("named", "another").weights_digest
    assert any("as long as its `fingerprint` is 'version 1'" in note for note in in_session("named", "one").proof["notes"])


def test_a_fingerprint_of_the_pipeline_keeps_its_images_until_it_changes(in_session, tmp_path):
    (tmp_path / "version").write_text("1")
    first = in_session("named_pipeline", "one").weights_digest
    assert in_session("named_pipeline", "another").weights_digest == first
    (tmp_path / "version").write_text("2")
    assert in_session("named_pipeline", "another").weights_digest != first


def test_a_fingerprint_that_stays_while_the_output_changes_is_refused(in_session, tmp_path):
    store = tmp_path / "store"
    confirm_probe(in_session("named", "one", 1.0), store, "cpu")
    confirm_probe(in_session("named", "another", 1.0), store, "cpu")
    with pytest.raises(
        LoadError, match=r"(?s)our_functions:named computes something else than .* same weights digest.*fingerprint"
    ):
        confirm_probe(in_session("named", "another", 0.5), store, "cpu")


def test_the_libraries_own_code_is_not_taken_for_anybody_elses(base_model):
    """Whatever these tests and their plugins have imported: nobody has replaced anything."""
    import open_clip  # noqa: F401
    import peft  # noqa: F401

    assert list(replaced_code([type(base_model.pipeline), Attention, DDIMScheduler])) == []


def test_code_of_ones_own_in_an_installed_package_is_ones_own(monkeypatch):
    import safetensors.torch

    monkeypatch.setattr(Attention, "forward", safetensors.torch.load_file)
    assert list(replaced_code([Attention])) == []
    assert any("Attention.forward" in sentence for sentence in replaced_code([Attention], own="safetensors.torch"))


def test_a_pipeline_that_equals_its_base_is_drawn_and_not_what_it_drew_before(in_session, base_model):
    """The reproduced fault: the images of an earlier behaviour were taken for those of a model that equals its base."""
    acting, idle = in_session("processor", "one", 0.0), in_session("processor", "another", 1.0)
    assert acting.weights_digest != idle.weights_digest
    assert in_session("processor", "another", 1.0).weights_digest == idle.weights_digest  # as in every worker of the session
    assert (acting.probe.numbers != idle.probe.numbers).any()
    assert (draw(idle.pipeline) == draw(base_model.pipeline)).all()
