"""A detector as a judge of prompts: does an image show what its own prompt says?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dmun_audit._util.errors import LoadError
from dmun_audit._util.hashing import digest
from dmun_audit.judge.cached_detector import CachedDetector
from dmun_audit.judge.protocol import Network
from dmun_audit.judge.reference import JudgeReference
from dmun_audit.knowledge.dossier import LONGEST_NAME, Target
from dmun_audit.store.embeddings import EmbeddingStore

Reader = Callable[[Sequence[str]], list[np.ndarray]]


def check_prompt_judge(reference: JudgeReference) -> None:
    """Raise LoadError for a judge that cannot be asked about a free text: a CLIP model, or a detector with a fixed query."""
    if reference.kind == "clip":
        raise LoadError(
            f"the composition judge {reference.text!r} is a CLIP model",
            "CLIP already answers if no composition judge is named",
            "leave --composition-judge out, or name a detector that takes a text, such as vlm:LANGUAGE-MODEL",
        )
    if reference.query:
        raise LoadError(
            f"the composition judge {reference.text!r} has the fixed query {reference.query!r}",
            "it is asked about each composition prompt",
            "leave out # and what follows it",
        )


class PromptJudge:
    """A network that is opened once, with one detector for each prompt. Each answer is kept in the store.

    `store` is the store's folder, and `read` gives the pixels (height, width, 3) uint8 of the images of some keys. `environment`
    holds versions and device. Raises LoadError for a prompt that the network cannot look for.
    """

    def __init__(
        self,
        reference: JudgeReference,
        network: Network,
        prompts: Sequence[str],
        store: Path,
        read: Reader,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        check_prompt_judge(reference)
        self.reference = reference.text
        detectors = {prompt: network.detector(reference, _as_target(prompt)) for prompt in prompts}
        self._thresholds = {prompt: detector.scale.lowest for prompt, detector in detectors.items()}
        self._detectors = {
            prompt: CachedDetector(detector, EmbeddingStore(store, detector.digest, environment), read)
            for prompt, detector in detectors.items()
        }
        self.digest = digest([detector.digest for detector in detectors.values()])

    def shows(self, keys: Sequence[str], prompts: Sequence[str]) -> list[int]:
        """1 for every image of `keys` that shows its prompt, 0 for the others. A score at the detector's lowest threshold is enough."""
        answers = [0] * len(keys)
        for prompt in dict.fromkeys(prompts):
            places = [place for place, each in enumerate(prompts) if each == prompt]
            scores = self._detectors[prompt].target_scores([keys[place] for place in places])
            for place, score in zip(places, scores, strict=True):
                answers[place] = int(score >= self._thresholds[prompt])
        return answers


def _as_target(prompt: str) -> Target:
    return Target(name=prompt[:LONGEST_NAME].strip(), kind="object", label=prompt, direct_prompts=(prompt,))
