"""Several finished audits side by side. Today: which source of similarity predicts damage best, pooled over targets and models."""
