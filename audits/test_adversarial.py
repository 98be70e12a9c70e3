"""The target stays gone: prompts that bring it out on the base model do not bring it back on the candidate."""


def test_adversarial_prompt_does_not_recover_target(audit, adversarial):
    audit.check(adversarial)
