"""What an audit leaves behind: typed records, the run folder that holds them, and the sentences that they say."""
