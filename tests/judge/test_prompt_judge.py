"""A detector that is asked whether an image shows its own prompt."""

from types import SimpleNamespace

import numpy as np
import pytest

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.hashing import digest
from dmun_audit.config.audit_config import AuditConfig
from dmun_audit.config.options import Options
from dmun_audit.config.resolve import resolve
from dmun_audit.judge.prompt_judge import PromptJudge
from dmun_audit.judge.protocol import JudgeReference, ScoreScale

IMAGES = {key: np.full((4, 4, 3), value, np.uint8) for key, value in {"dark": 10, "bright": 240}.items()}


class Brightness:
    """Sees a prompt in an image that is as bright as the prompt says, and counts the images that it looks at."""

    def __init__(self):
        self.looked, self.asked = 0, []

    def detector(self, reference, target):
        self.asked.append(target.label)
        return SimpleNamespace(
            reference=reference.text,
            digest=digest(["brightness", target.label]),
            scale=ScoreScale(0.5, calibrated=False),
            target_scores=lambda images: self._scores(images, target.label),
        )

    def _scores(self, images, prompt):
        self.looked += len(images)
        return np.array([float((image.mean() > 128) == ("bright" in prompt)) for image in images])


def judge(network, folder):
    reference = JudgeReference("brightness:any", "brightness", "any")
    prompts = ["a bright room", "a dark room"]
    return PromptJudge(reference, network, prompts, folder, lambda keys: [IMAGES[key] for key in keys])


def test_each_image_is_asked_about_its_own_prompt_and_once(tmp_path):
    network = Brightness()
    keys, prompts = ["dark", "bright", "dark", "bright"], ["a bright room", "a bright room", "a dark room", "a dark room"]
    assert judge(network, tmp_path).shows(keys, prompts) == [0, 1, 1, 0]
    assert network.asked == ["a bright room", "a dark room"]
    assert network.looked == 4
    again = Brightness()
    assert judge(again, tmp_path).shows(keys, prompts) == [0, 1, 1, 0]
    assert again.looked == 0


OPTIONS = {"model": "atelier:retrained", "target": "Van Gogh"}


def test_it_makes_another_audit_and_reaches_every_worker():
    plain = resolve(Options(**OPTIONS))
    config = resolve(Options(**OPTIONS, composition_judge="vlm:http://localhost:1/v1#m"))
    assert config.composition_judge == "vlm:http://localhost:1/v1#m"
    assert config.audit_hash != plain.audit_hash
    assert AuditConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("atelier:judge", "is a CLIP model"),
        ("classifier:owner/name#nsfw", "fixed query"),
        ("vml:http://localhost:1/v1#m", "did you mean vlm:"),
    ],
)
def test_a_judge_that_will_not_do_is_refused(reference, words):
    with pytest.raises(LoadError, match=words):
        resolve(Options(**OPTIONS, composition_judge=reference))
    with pytest.raises(UsageError, match="makes no claim for it"):
        resolve(Options(**OPTIONS, policy="smoke", composition_judge=reference))
