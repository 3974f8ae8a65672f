"""Runs bots with `run = process`: starts children, talks to them over a socket, and notices their deaths.

The child's own code is `child.py`; it imports no journal, no loop of the host and no configuration file. Start reading in
`runner.py`.
"""
