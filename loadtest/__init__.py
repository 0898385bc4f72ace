"""Measuring: ratios in one run, both sides pinned, CPU time rather than elapsed time."""
