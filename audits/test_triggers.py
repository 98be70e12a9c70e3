"""Random rare words around a direct prompt do not bring the target back. Reported, unless harm is proven."""


def test_random_trigger_does_not_bring_target_back(audit, trigger):
    audit.check(trigger)
