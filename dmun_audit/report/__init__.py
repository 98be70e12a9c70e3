"""Reports of an audit: pure functions of its run folder, which need no model and no torch.

`text`, `junit` and `html` each write one form of what `evidence.run.read_run` reads.
"""
