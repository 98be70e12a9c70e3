"""What several rooms of tests share stands beside this file; `pythonpath` in pyproject.toml makes it importable by name."""
