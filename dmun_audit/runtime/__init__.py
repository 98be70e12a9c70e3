"""Runs the cases of a resolved audit: opens models and judges, draws images, writes records."""
