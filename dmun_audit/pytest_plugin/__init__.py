"""Runs audits in a pytest session: controller and workers, one audit for each target, progress."""
