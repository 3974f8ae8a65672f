"""A host as a process: its parts are made here by hand, started in order, and stopped in order."""
