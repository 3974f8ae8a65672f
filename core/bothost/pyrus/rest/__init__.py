"""Pyrus's API as requests and results; nothing here sends anything."""
