"""Reported only: are concepts damaged more if they are more similar to the target?"""


def test_damage_follows_similarity(audit, ordering):
    audit.check(ordering)
