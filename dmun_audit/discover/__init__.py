"""Discovery: a dossier, a language model and rendered images give a better dossier. Refinement, attack, orderings."""
