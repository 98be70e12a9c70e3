"""From outcomes to decisions: the claims of groups, the verdict of an audit. Pure functions of records."""
