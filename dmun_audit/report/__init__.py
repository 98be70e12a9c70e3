"""Reports of an audit: pure functions of its run folder, without models or torch.

`text`, `junit` and `html` report the run that `evidence.run.read_run` reads.
"""
