from example_runs import example, folder  # noqa: F401
