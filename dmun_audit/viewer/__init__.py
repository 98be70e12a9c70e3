"""`dmun-audit view`: all runs of a folder in the browser, on this machine alone: a list, each report, and comparisons."""
