"""The evidence of an audit: typed records, the run folder, and the sentences of a case."""
