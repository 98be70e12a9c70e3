"""Images a second of an audit's engine beside those of plain loops, and what takes the rest of the time. See `__main__`."""
