"""Everything around the target is still there: nearby concepts are drawn as well as before."""


def test_nearby_concept_is_retained(audit, nearby):
    audit.check(nearby)
