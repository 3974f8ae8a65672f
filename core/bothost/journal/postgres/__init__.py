"""The journal in PostgreSQL, which hosts share."""
