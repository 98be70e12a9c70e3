"""The candidate does not show the target under the steps, the guidance and the scheduler of its own card either."""


def test_target_is_erased_under_own_settings(audit, own_settings):
    audit.check(own_settings)
