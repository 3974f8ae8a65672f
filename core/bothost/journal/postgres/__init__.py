"""Keep the journal that several hosts share in PostgreSQL.

SQL, connections and everything that knows asyncpg live here; decisions about an event (`journal/transitions.py`) may not.
Start reading at `journal.py`, then `statements.py` for the SQL and `session.py` for what a connection may raise.
"""
