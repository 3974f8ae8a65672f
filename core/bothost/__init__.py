"""bothost hosts many Pyrus bots in one process; these are the names for plugin authors."""

__version__ = "0.1.0"
