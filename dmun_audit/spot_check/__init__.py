"""A person labels a blinded sample of an audit's images. Needs a run folder alone: no model and no torch.

`strata` groups the images and draws the sample; `labels` reads and writes the labels; `labeling_session` holds the sample
of one person; `terminal` and `server` ask the person; `results` compares the labels with the judge, and `claims` recounts
the claims of the audit.
"""
