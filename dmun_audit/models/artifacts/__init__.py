"""The published formats of edited weights: how each is recognised, and where its tensors go in the base."""
