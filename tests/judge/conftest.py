"""Fixtures of the judge tests: small images, a dossier, and a detector by its reference."""

import numpy as np
import pytest

from dmun_audit.judge.kinds import parse_judge
from dmun_audit.judge.loading import JudgeLoader
from dmun_audit.knowledge.packs import find_pack


@pytest.fixture(scope="session")
def dossier():
    return find_pack("Van Gogh", "atelier")


@pytest.fixture(scope="session")
def images():
    """Nineteen images of three shapes: more than two batches, and the last one is not full."""
    rng = np.random.default_rng(0)
    shapes = [(48, 64, 3), (64, 48, 3), (40, 40, 3)]
    return [rng.integers(0, 256, shapes[index % 3], np.uint8) for index in range(19)]


@pytest.fixture
def detector(dossier):
    """A function that opens the detector of a reference, for the dossier's target or another one."""

    def open_detector(text, target=dossier.target):
        reference = parse_judge(text)
        return JudgeLoader("cpu").network(reference).detector(reference, target)

    return open_detector
