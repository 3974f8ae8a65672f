"""Make replies, which are comment requests, and check them when they are made.

Nothing here sends a reply or reads the journal. Start with `reply.py`; `values.py` and `field_updates.py` convert Python's
values, and `comment_match.py` recognises a comment of ours in a task.
"""
