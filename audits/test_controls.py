"""Before the candidate is judged at all: can the judge see the target, and only the target? Do the adversarial prompts work?"""


def test_control_holds(audit, control):
    audit.check(control)
