"""The judged images: what the judge saw in many images of every model with a known answer.

An image is kept as three numbers: its target score, its CLIP score and, for a nearby concept, whether the judge recognises it.
`making` draws and judges the images, with the prompts of an audit and seeds of their own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibration.known_models import BASE
from dmun_audit._util.errors import UsageError
from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.plan.plan import Plan
from dmun_audit.policy import Policy

FOLDER = Path(__file__).parent
NAME = "judged_images"

NOTHING = "nothing"
"""The model of images that show nothing. Mixed with another one, it loses a chosen share of a concept."""

KINDS = ("erasure", "validation", "adversarial", "retention")
"""What an image is for. Validation images are the base model's images of adversarial prompts."""


class JudgedImages:
    """The judged images, as read from `judged_images.json` and `judged_images.npz` in a folder.

    `target` and `clip` hold scores by kind, each of shape (models, prompts, images). `recognised` holds 1 where the judge
    recognises the concept, of the same shape, for the kind "retention". `models` and `prompts` give the rows by name.
    Raises UsageError where the folder has no such files.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        description, arrays = folder / f"{NAME}.json", folder / f"{NAME}.npz"
        if not description.exists() or not arrays.exists():
            raise UsageError(
                "there are no judged images",
                f"{folder} has no {arrays.name} or no {description.name}",
                "make them: python -m benchmarks.calibration draw --out FOLDER",
            )
        self.description: dict[str, Any] = json.loads(description.read_text())
        self.models = {model["name"]: row for row, model in enumerate(self.description["models"])}
        self.prompts = {
            kind: {prompt["text"]: row for row, prompt in enumerate(prompts)}
            for kind, prompts in self.description["prompts"].items()
        }
        with np.load(arrays) as stored:
            values = dict(stored)
        self.target = {kind: values[f"{kind}_target"] for kind in self.prompts}
        self.clip = {kind: values[f"{kind}_clip"].astype(np.float64) for kind in self.prompts}
        self.recognised = values["retention_right"].astype(np.int8)
        self._add_nothing()
        # As a candidate, the base model draws adversarial prompts. Its images of these prompts are the validation images.
        for scores in (self.target, self.clip):
            scores["adversarial"] = scores["adversarial"].copy()
            scores["adversarial"][self.models[BASE]] = scores["validation"][self.models[BASE]]

    def _add_nothing(self) -> None:
        """Add the row of a model that draws nothing: no target, no CLIP score, no concept."""
        self.models[NOTHING] = len(self.models)
        for arrays in (self.target, self.clip):
            for kind, values in arrays.items():
                arrays[kind] = np.concatenate([values, np.zeros_like(values[:1])])
        self.recognised = np.concatenate([self.recognised, np.zeros_like(self.recognised[:1])])

    def images_of_each(self, kind: str) -> int:
        """The number of images of each prompt of a kind."""
        return int(self.target[kind].shape[2])

    def row(self, kind: str, prompt: str) -> int:
        """The row of a prompt. Raises UsageError where no image of it was judged."""
        try:
            return self.prompts[kind][prompt]
        except KeyError:
            raise UsageError(
                f"there are no judged {kind} images of “{prompt}”", "the dossier or the policy asks for them"
            ) from None

    def plan(self, policy: Policy) -> Plan:
        """The plan of every audit under `policy`. Each audit draws anew which images stand behind the plan's requests."""
        return make_plan(open_knowledge(self.description["pack"]["name"]), policy, 0)
