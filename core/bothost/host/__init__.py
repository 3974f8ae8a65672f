"""Builds a process of the host by hand, starts its parts in order, and stops them in order.

No rule about events or bots belongs here, only construction, signals, sockets and the supervisor of several processes. Start
reading in `serve.py`, then `assembly.py` and `process.py`.
"""
