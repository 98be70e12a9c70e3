"""The interview: structured questions to a language model, and a dossier made of its valid answers."""
