"""What the server process of `processes` imports before it forks: the libraries and the modules that every audit needs.

The plugin itself (`dmun_audit.plugin`) is left to each process: pytest imports its plugins in its own way.

Libraries build tables when they first load a model, and templates are compiled when they are first filled in: both happen here too,
once. Each process still loads its own models and writes its own page.
"""

import gc
import importlib
import os
import pkgutil

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dmun_audit._util.torchvision_compatibility import make_importable

make_importable()

import open_clip  # noqa: E402, F401
import scipy.stats  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers  # noqa: E402
from diffusers import AutoencoderKL, DiffusionPipeline, DPMSolverMultistepScheduler, UNet2DConditionModel  # noqa: E402, F401

transformers.CLIPTextModel  # noqa: B018  # imported when it is named

import dmun_audit.claim_groups  # noqa: E402
import dmun_audit.config.campaign  # noqa: E402
import dmun_audit.judge.loading  # noqa: E402
import dmun_audit.models.loading  # noqa: E402
import dmun_audit.pytest_plugin.case_runs  # noqa: E402
import dmun_audit.pytest_plugin.session  # noqa: E402
import dmun_audit.pytest_plugin.shown_cases  # noqa: E402
import dmun_audit.render.engine  # noqa: E402
import dmun_audit.runtime.candidates  # noqa: E402
import dmun_audit.runtime.loading  # noqa: E402
from dmun_audit.models.folders import open_networks  # noqa: E402
from dmun_audit.models.references import parse_reference  # noqa: E402
from dmun_audit.report.html.page import environment  # noqa: E402

for group in pkgutil.iter_modules(dmun_audit.claim_groups.__path__):
    importlib.import_module(f"dmun_audit.claim_groups.{group.name}")
# Not the pipeline around them: importing that starts a thread of onnxruntime, which no fork would have.
open_networks(parse_reference("atelier:base").path, "float32")
for template in environment().list_templates(extensions=["j2"]):
    environment().get_template(template)

gc.collect()
gc.freeze()  # a process looks for garbage among its own objects alone, and copies no memory of the server for it
