"""Measurements. `make bench` or `python -m bench` prints the table; docs/performance.md tells what the columns are."""
