"""An attack by somebody who has the weights does not bring the target back more often than on a model that never knew it."""


def test_weights_in_hand_do_not_bring_target_back(audit, probe):
    audit.check(probe)
