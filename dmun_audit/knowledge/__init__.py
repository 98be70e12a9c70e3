"""What a language model, or a person, knows of a target: dossiers and the packs that ship."""
