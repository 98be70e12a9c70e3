"""Fixtures of the calibration's tests: everything that takes long to open is opened once."""

import json

import pytest
import torch

from benchmarks.calibration.calibrate import Setting
from benchmarks.calibration.judged_images import FOLDER
from benchmarks.calibration.model_maker import ModelMaker
from dmun_audit.policy import load_policy


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The networks here are so small that threads which wait for each other cost many times what they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def setting():
    """Judged images and known answers under the policy `standard`."""
    return Setting(load_policy("standard"))


@pytest.fixture(scope="session")
def model_maker():
    return ModelMaker("cpu")


@pytest.fixture(scope="session")
def results():
    """The results in the repository."""
    return json.loads((FOLDER / "results.json").read_text())
