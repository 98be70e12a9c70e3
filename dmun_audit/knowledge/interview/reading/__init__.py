"""What an answer says: thoughts dropped, deviations read, refusals known. Pure functions of text."""
