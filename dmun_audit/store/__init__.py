"""Content-addressed images and embeddings, shared by every audit and every process of a user."""
