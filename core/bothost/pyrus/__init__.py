"""Bytes to values and back: Pyrus's shapes without I/O, logging or a clock."""
