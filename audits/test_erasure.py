"""The target is gone: prompts that name it, and its works, no longer show it."""


def test_target_is_erased(audit, target_prompt):
    audit.check(target_prompt)
