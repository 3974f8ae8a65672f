"""A bot in a process of its own: its start, what is said over its socket, and its end."""
