"""Carry the messages between the workers of one host, which go through their supervisor.

Nothing here starts or ends a worker; `host/supervisor.py` does that. Start reading in `protocol.py`.
"""
