"""What the server process of `processes` imports before it forks: the libraries and the modules that every audit needs.

The plugin itself (`dmun_audit.plugin`) is left to each process: pytest imports its plugins in its own way.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dmun_audit._util.torchvision_compatibility import make_importable

make_importable()

import open_clip  # noqa: E402, F401
import scipy.stats  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers  # noqa: E402
from diffusers import AutoencoderKL, DiffusionPipeline, DPMSolverMultistepScheduler, UNet2DConditionModel  # noqa: E402, F401

transformers.CLIPTextModel  # noqa: B018  # imported when it is named

import dmun_audit.claim_groups.source_differences  # noqa: E402
import dmun_audit.judge.loading  # noqa: E402
import dmun_audit.models.loading  # noqa: E402
import dmun_audit.pytest_plugin.case_runs  # noqa: E402
import dmun_audit.pytest_plugin.session  # noqa: E402
import dmun_audit.render.engine  # noqa: E402
import dmun_audit.report.html.page  # noqa: E402
import dmun_audit.runtime.loading  # noqa: E402, F401
