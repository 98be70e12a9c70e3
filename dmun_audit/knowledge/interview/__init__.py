"""The interview: structured questions to a language model, and a dossier made of the answers that hold."""
