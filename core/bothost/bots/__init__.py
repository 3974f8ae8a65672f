"""The bots in service: their registry, their turns and permits, how each is loaded, opened, changed and put out of service."""
