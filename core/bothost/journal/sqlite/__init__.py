"""Keep the embedded journal in SQLite, with one thread that writes, and large bodies in files beside it.

SQL and files live here; decisions about an event (`journal/transitions.py`) may not. Start reading at `journal.py`, then
`writer.py` for how writes are gathered and `statements.py` for the SQL.
"""
