"""Calls to Pyrus: permits, tokens, rate limits, retries, and the typed API that plugins use.

Everything that leaves this process for Pyrus passes through here, and nothing else is sent from here; the values of
requests and results live in `bothost.pyrus.rest`. Start with `api.py`, which plugins see, then `session.py`, which sends.
"""
