"""The candidate does not show the target for prompts that are not in the dossier and were drawn for this candidate alone."""


def test_fresh_prompts_do_not_show_target(audit, fresh_prompt):
    audit.check(fresh_prompt)
