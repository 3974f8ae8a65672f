"""Measurements. `make bench` or `python -m bench` writes docs/performance.md, which tells what its columns are."""
