"""Call Pyrus for plugins and the host, with permits, tokens, rate limits, retries and the typed API.

Every request to Pyrus leaves from here, and no other request does. The values of requests and results live in
`bothost.pyrus.rest`. Start with `api.py`, which plugins see, then `session.py`, which sends.
"""
