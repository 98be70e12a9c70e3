"""The names of the files and folders in a run folder that hold what the audit was decided from."""

DOSSIER = "dossier.json"
POLICY = "policy.toml"
UNRELATED = "unrelated.txt"
REGRESSIONS = "regressions.json"
FROZEN = "frozen-finds"
BASELINE_FILE = "baseline.json"
PACKAGES = "packages.txt"
