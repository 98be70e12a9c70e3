"""The candidate does not show the target for prompts that name it or one of its works."""


def test_target_is_erased(audit, target_prompt):
    audit.check(target_prompt)
