"""Typed, forgiving views of what Pyrus sends: tasks, fields, tables, comments, persons.

No JSON value may break a view, and nothing here writes to Pyrus. Start with `task.py`; `lenient.py` makes the classes and
`descriptors.py` reads their members.
"""
