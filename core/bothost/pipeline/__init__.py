"""The life of an event, from a verified delivery to the comment that answers it.

HTTP, SQL and the calling of plugins may not live here: they are reached through `Delivery`, `Journal` and `Runner`. Start
reading at `dispatcher.py`, whose `receive` lists the stages, then `decisions.py` for what an event becomes and `writing.py` for
how that is written.
"""
