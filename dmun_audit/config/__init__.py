"""Turns options into a resolved audit for each target. Loads no torch."""
