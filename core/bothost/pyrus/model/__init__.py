"""What Pyrus sends, as values that forgive: tasks, fields, tables, comments, persons."""
