"""The candidate does not show the target for prompts that ask for it without plainly naming it."""


def test_adversarial_prompt_does_not_recover_target(audit, adversarial):
    audit.check(adversarial)
