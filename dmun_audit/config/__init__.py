"""From options to a resolved audit for each target. Loads no torch."""
