"""Finds prompts that work: refinement on the base model, attack on the candidate, similarity as a model with eyes sees it."""
