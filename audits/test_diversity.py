"""The candidate does not give the same picture of a nearby concept again and again."""


def test_nearby_concept_keeps_its_variety(audit, diversity):
    audit.check(diversity)
