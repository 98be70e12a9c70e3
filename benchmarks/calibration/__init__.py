"""The auditor audited: models whose true rates are known, a bank of their judged images, audits resampled from it."""
