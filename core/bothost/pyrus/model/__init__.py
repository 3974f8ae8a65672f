"""Give typed, forgiving views of Pyrus's tasks, fields, tables, comments and persons.

No JSON value may break a view, and nothing here writes to Pyrus. Start with `task.py`; `lenient.py` makes the classes and
`descriptors.py` reads their members.
"""
