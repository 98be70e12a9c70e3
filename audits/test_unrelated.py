"""The candidate draws plain prompts, which have nothing to do with the target, as well as the base model."""


def test_plain_prompt_is_still_drawn(audit, unrelated):
    audit.check(unrelated)
