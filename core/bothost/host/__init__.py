"""Build a process of the host from its parts, start them in order, and stop them in order.

No rule about events or bots belongs here, only construction, signals, sockets and the supervisor of several processes. Start
reading in `serve.py`, then `assembly.py` and `process.py`.
"""
