"""The candidate still draws the subjects that are asked for in the concepts near the target."""


def test_nearby_concept_keeps_its_subjects(audit, composition):
    audit.check(composition)
