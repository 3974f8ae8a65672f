"""The embedded journal: SQLite, one writer, large bodies in files beside it."""
