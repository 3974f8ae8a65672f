"""Plugins: the API for their authors, how they are found and loaded, and whose code a frame runs."""
