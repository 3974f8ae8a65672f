"""Carries what the workers of one host tell each other through their supervisor.

Nothing here starts or ends a worker; `host/supervisor.py` does that. Start reading in `protocol.py`.
"""
