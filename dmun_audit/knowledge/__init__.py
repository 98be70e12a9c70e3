"""Dossiers: what is known of a target. Reading, checking, showing, building them; the packs that ship."""
