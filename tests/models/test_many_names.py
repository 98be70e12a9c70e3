"""As many names as a file may hold, all nearly right: one error within seconds, with the closest names, over any base."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dmun_audit._util.errors import LoadError
from dmun_audit.models.artifacts.formats import lay_out
from dmun_audit.models.files.contents import Contents

pytestmark = pytest.mark.slow

MANY = 99_000
MOST_SECONDS = 20  # over half a minute, and over a minute with a large base, before each name was looked at once

PLACE = "down_blocks.{0}.attentions.0.transformer_blocks.0.attn2.to_k.weight"
NEAR = {
    "diffusers": ("down_blocks.{0}.attentions.0.transformer_blocks.0.attn3.to_k.weight", "unet"),
    "open_clip": ("cond_stage_model.model.transformer.resblox.{0}.mlp.c_fc.weight", "text_encoder"),
    "kohya": ("lora_unet_down_blocks_{0}_attentions_0_transformer_blocks_0_attn3_to_k.lora_down.weight", "any module"),
}


def _error(names, places):
    base = {
        "unet": {PLACE.format(number): (8, 8) for number in range(places)},
        "text_encoder": {f"encoder.layers.{number}.mlp.fc1.weight": (8, 8) for number in range(200)},
    }
    contents = Contents(Path("x.safetensors"), "safetensors", dict.fromkeys(names, (8, 8)), dict.fromkeys(names, "F32"))
    started = time.monotonic()
    with pytest.raises(LoadError) as caught:
        lay_out(contents, base)
    return caught.value, time.monotonic() - started


@pytest.mark.parametrize("form", NEAR)
@pytest.mark.parametrize("places", [700, MANY])
def test_many_names_are_one_error_within_seconds(form, places):
    name, where = NEAR[form]
    error, seconds = _error([name.format(number) for number in range(MANY)], places)
    assert error.what == f"x.safetensors does not fit the base: {MANY} of its {MANY} tensors are not in " + (
        "any module of the base" if form == "kohya" else f"the base's {where}"
    )
    assert seconds < MOST_SECONDS
    if form == "diffusers":
        assert f"{name.format(2)!r} (closest: {PLACE.format(2)!r})" in error.why


def test_the_closest_name_of_a_large_base_is_that_of_a_small_one():
    name = "down_blocks.11.attentions.0.transformer_blocks.0.attn2.to_kk.weight"
    small, large = _error([name], 700)[0], _error([name], 5_000)[0]
    assert small.why == large.why
    assert f"(closest: {PLACE.format(11)!r})" in small.why
