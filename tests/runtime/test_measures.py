"""Measures of single images: computed once in an audit, whichever claims ask for them."""

import numpy as np
from core_policy import core_policy
from written_observations import DOSSIER, WrittenObservations

from dmun_audit.claim_groups.planning import make_plan
from dmun_audit.plan.case import requests_for
from dmun_audit.runtime.measures import AuditMeasures


class KeyedObservations(WrittenObservations):
    """Written images with keys, which remember what was read."""

    def keys(self, requests):
        return [f"{request.side} {request.prompt} {request.index}" for request in requests]

    def images(self, requests):
        self.read = [*getattr(self, "read", []), *requests]
        return super().images(requests)


SQUARES = np.kron(np.random.default_rng(1).integers(0, 256, (4, 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))


def test_an_image_is_looked_at_once_for_all_claims_that_ask_whether_it_is_empty():
    plan = make_plan(DOSSIER, core_policy("smoke"), 0)
    images = requests_for("candidate", ["a boat"], 4, 0)
    observations = KeyedObservations(plan, pixels=lambda request: SQUARES if request.index == 0 else np.zeros_like(SQUARES))
    observations.draw(images)
    measures = AuditMeasures(observations)
    assert measures.collapsed(images[:2]) == 0.5
    assert measures.collapsed(images) == 0.75
    assert [measures.collapsed([image]) for image in images] == [0.0, 1.0, 1.0, 1.0]
    assert observations.read == list(images)
