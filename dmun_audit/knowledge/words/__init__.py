"""What a text says: the names in it, its language, and whether two names mean one concept. Pure functions of text."""
