"""An HTTP/1 server for any Tornado application: connections, limits, TLS and draining, with llhttp as the parser.

It knows no bots and no pages; those are delegates that it is given, and it speaks to them by Tornado's interfaces only.
Start reading at `server.py`, which accepts connections, then read `connection.py`, which is one of them.
"""
