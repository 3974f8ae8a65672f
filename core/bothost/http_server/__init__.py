"""Serve HTTP/1 for any Tornado application: connections, limits, TLS and draining, with llhttp as the parser.

Nothing here knows bots or pages. Those are delegates, and the server speaks to them by Tornado's interfaces only.
Start reading at `server.py`, which accepts connections, then read `connection.py`, which is one of them.
"""
