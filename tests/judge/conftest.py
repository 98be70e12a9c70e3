"""What the tests of judges share: small pictures, a target, and folders of small networks."""

import numpy as np
import pytest

from dmun_audit.judge.opening import Judges
from dmun_audit.judge.reference import parse_judge
from dmun_audit.knowledge.packs import find_pack


@pytest.fixture(scope="session")
def dossier():
    return find_pack("Van Gogh", "atelier")


@pytest.fixture(scope="session")
def pictures():
    """Nineteen pictures of three shapes: more than two batches, the last one not full."""
    rng = np.random.default_rng(0)
    shapes = [(48, 64, 3), (64, 48, 3), (40, 40, 3)]
    return [rng.integers(0, 256, shapes[place % 3], np.uint8) for place in range(19)]


@pytest.fixture
def detector(dossier):
    """Open the detector that a reference names, for the dossier's target."""

    def open_(text, target=dossier.target):
        reference = parse_judge(text)
        return Judges("cpu").network(reference).detector(reference, target)

    return open_
