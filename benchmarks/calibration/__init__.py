"""The calibration of the auditor: how often its audits err on models whose true rates are known."""
