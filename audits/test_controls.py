"""The judge detects the target on the base model, and only the target. Enough adversarial prompts are valid."""


def test_control_holds(audit, control):
    audit.check(control)
