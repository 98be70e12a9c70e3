"""What a text says: the names in it, its language, whether it refuses, and whether two names mean one concept. Pure functions."""
