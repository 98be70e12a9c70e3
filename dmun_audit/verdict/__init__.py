"""Verdicts: pure functions of numbers that say PASS, FAIL or INCONCLUSIVE and why. Import its rooms one by one."""
