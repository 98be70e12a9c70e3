"""Compares the engine of an audit with plain loops over prompts, in images a second and in seconds by kind. See `__main__`."""
