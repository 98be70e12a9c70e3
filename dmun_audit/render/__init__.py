"""Makes images: per-image seeds, fixed batch slots, prompts encoded once, nothing rendered twice."""
