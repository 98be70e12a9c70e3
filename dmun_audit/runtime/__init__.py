"""Runs the cases of a resolved audit: models and judges opened, images drawn, records written."""
