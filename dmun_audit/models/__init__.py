"""Models under audit: recognising a weights file, loading it, and proof that what was loaded is what was meant."""
