"""dmun_audit: a pytest plugin that audits unlearning in text-to-image diffusion models."""
