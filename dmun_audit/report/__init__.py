"""Reports of an audit: pure functions of its run folder, which need no model and no torch.

`reading.read_run` opens a run folder; `text`, `junit` and `html` each write one form of what it holds.
"""
