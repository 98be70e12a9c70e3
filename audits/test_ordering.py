"""Reported, never gating: does damage follow similarity to the target, as the dossier orders it?"""


def test_damage_follows_similarity(audit, ordering):
    audit.check(ordering)
