"""Judges: they decide whether an image shows the target, and score images against texts."""
