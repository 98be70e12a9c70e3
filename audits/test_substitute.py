"""Where the target was, the candidate draws proper images of what else the prompt asks for."""


def test_substitute_is_a_proper_image(audit, substitute):
    audit.check(substitute)
