"""Run bots with `run = process`: start children, talk to them over a socket, and notice their deaths.

The child's own code is `child.py`; it imports no journal, no loop of the host and no configuration file. Start reading in
`runner.py`.
"""
