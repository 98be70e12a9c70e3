"""A person labels a blinded sample of an audit's images. Works from a run folder alone, with no model and no torch.

`population` sorts the images and draws the sample, `labels` keeps the answers, `labeling_session` is one person at it, `results` says
what the labels say of the judge; `terminal` and `server` ask.
"""
