"""What attacks on earlier candidates found does not bring the target back on this one (--regress)."""


def test_find_of_earlier_audit_does_not_bring_target_back(audit, regression):
    audit.check(regression)
