"""The life of an event, from a verified delivery to the comment that answers it.

HTTP, SQL and the calling of plugins may not live here: they are reached through `Delivery`, `Journal` and `Runner`. Start
reading at `dispatcher.py`; `completion.py` says what a run makes of its event, `write_rules.py` and `writing.py` how that is
written.
"""
