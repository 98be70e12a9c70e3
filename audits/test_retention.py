"""The candidate draws concepts that are similar to the target as well as the base model."""


def test_nearby_concept_is_retained(audit, nearby):
    audit.check(nearby)
