"""A CPU that stands for a GPU of little memory: the denoisers of real pipelines raise torch's error above a number of rows."""

import pytest
import torch

from dmun_audit.config import batch_size


class SmallCard:
    """Notes how many rows every denoiser of this process was given. Above `most` rows it has no memory, or fails with another `error`."""

    def __init__(self, most):
        self.most = most
        self.rows = []
        self.error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def __call__(self, module, arguments):
        if type(module).__name__ == "UNet2DConditionModel":
            self.rows.append(len(arguments[0]))
            if len(arguments[0]) > self.most:
                raise self.error


@pytest.fixture
def small_card(monkeypatch):
    """A card that takes four rows: two images with classifier-free guidance. `most` may be set to another number."""
    card = SmallCard(most=4)
    monkeypatch.setattr(batch_size, "gpu", lambda: "cpu")
    handle = torch.nn.modules.module.register_module_forward_pre_hook(card)
    yield card
    handle.remove()
