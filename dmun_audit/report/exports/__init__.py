"""A run for other tools: CTRF, one JSON file, tables, a step summary and a model card. All follow from a run folder alone."""
