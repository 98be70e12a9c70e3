"""What the server process of `processes` imports before it forks: the libraries that every audit needs."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dmun_audit._util.torchvision_compatibility import make_importable

make_importable()

import open_clip  # noqa: E402, F401
import scipy.special  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers  # noqa: E402
from diffusers import AutoencoderKL, DiffusionPipeline, DPMSolverMultistepScheduler, UNet2DConditionModel  # noqa: E402, F401

transformers.CLIPTextModel  # noqa: B018  # imported when it is named
