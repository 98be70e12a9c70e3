"""The names of the files in a run folder that hold what the audit was decided from."""

DOSSIER = "dossier.json"
POLICY = "policy.toml"
UNRELATED = "unrelated.txt"
PACKAGES = "packages.txt"
