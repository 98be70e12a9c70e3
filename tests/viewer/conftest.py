"""The example run of `example_runs`, as fixtures."""

from example_runs import example, hostile  # noqa: F401
