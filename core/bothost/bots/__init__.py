"""Hold the bots in service: load and open each, keep its queue and state, and swap it at a reload.

Nothing here runs an event, speaks HTTP or writes the journal.
Start with `registry.py` (a bot and how it is found), then `lifecycle.py` (its states) and `reload.py`.
"""
