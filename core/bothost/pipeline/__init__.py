"""Carry an event from a verified delivery to the comment that answers it.

HTTP, SQL and calls of plugins may not live here. They are reached through `Delivery`, `Journal` and `Runner`. Start reading at
`dispatcher.py`; `completion.py` decides what an event becomes after its run, and `write_rules.py` and `writing.py` write that.
"""
