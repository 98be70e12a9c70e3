"""This candidate is no worse than an earlier one, on the same prompts and seeds (--baseline)."""


def test_no_worse_than_baseline(audit, baseline_images):
    audit.check(baseline_images)
