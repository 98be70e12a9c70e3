"""The device that renders, and the number format that suits it."""

import pytest
import torch

from dmun_audit.render import devices


@pytest.fixture
def machine(monkeypatch):
    """Stand in for what torch says of the machine: its version, and the devices that it sees."""

    def set_up(*, build="2.13.0", cuda=False, bfloat16=False, mps=False):
        monkeypatch.setattr(devices, "version", lambda package: build)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16 or including_emulation)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return set_up


@pytest.mark.parametrize(
    ("facts", "device", "dtype", "level"),
    [
        ({"build": "2.13.0+cpu", "cuda": True}, "cuda", "float32", "none"),  # a CPU build is not asked what it sees
        ({}, "cpu", "float32", "none"),
        ({"cuda": True, "bfloat16": True}, "cuda", "bfloat16", "layout"),
        ({"cuda": True}, "cuda", "float16", "layout"),
        ({"mps": True}, "mps", "float32", "none"),
        ({"cuda": True, "bfloat16": True, "mps": True}, "cuda", "bfloat16", "layout"),
    ],
)
def test_auto_is_the_format_and_the_acceleration_that_suit_the_device(machine, facts, device, dtype, level):
    machine(**facts)
    assert (devices.choose_device(), devices.number_format("auto"), devices.acceleration("auto")) == (device, dtype, level)
    assert (devices.number_format("float16"), devices.acceleration("compiled")) == ("float16", "compiled")
