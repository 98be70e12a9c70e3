"""The example run of `example_runs`, as fixtures."""

from example_runs import a_record, example, folder, hostile  # noqa: F401
